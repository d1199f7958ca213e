package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/notify"
	"golang.org/x/sys/unix"
)

// stateVersion changes when an older program could not read, or would misread, what is
// written.
const stateVersion = 1

// state is what a holder knows, for itself after its upgrade.
type state struct {
	Version    int
	Generation int
	Reexecs    int
	Began      time.Time
	Speaks     bool
	Believed   bool
	Told       bool // the service manager knows that the service is ready
	Said       string
	LastError  string
	Mask       []uint64 // the copies' signal mask
	Sockets    []socketState
	Workers    []workerState
	Leaving    []copyState
	Upgrades   []handoff.UpgradeRecord
	Signals    []syscall.Signal // that came too late for the program before
}

type socketState struct {
	FD             int
	Name           string
	Network, Addr  string
	Path           string
	Device, Number uint64 // of the file at Path
}

type workerState struct {
	Phase   phase
	Served  bool
	Crashes int
	Main    *copyState
}

type copyState struct {
	Worker                                              int
	PID, Group, Generation                              int
	Began, Deadline                                     time.Time
	Inbox                                               int
	Address                                             string
	Stderr                                              int // -1: none
	Tail                                                []byte
	Ready, Spoke, Proven, Pinged, Asked, Killed, Ending bool
	Said                                                string
	File                                                stamp
}

// state collects what is to be known, with the descriptors that have to stay open.
func (h *Holder) state(mask *unix.Sigset_t) (*state, []int) {
	if h.mask != nil {
		mask = h.mask
	}
	s := &state{
		Version: stateVersion, Generation: h.generation, Reexecs: h.reexecs + 1, Began: h.began, Speaks: h.speaks, Believed: h.believed,
		Told: h.manager.told, Said: h.manager.said, LastError: h.lastErr, Mask: append([]uint64(nil), mask.Val[:]...),
		Upgrades: h.upgrades,
	}
	var fds []int
	for i, socket := range h.opt.Sockets {
		out := socketState{FD: fdOf(h.files[i].Conn), Name: socket.Name, Path: socket.Path}
		if socket.Addr != nil {
			out.Network, out.Addr = socket.Addr.Network(), socket.Addr.String()
		}
		id := h.paths[socket.Path]
		out.Device, out.Number = id.device, id.number
		fds = append(fds, out.FD)
		s.Sockets = append(s.Sockets, out)
	}
	keep := func(c *process) *copyState {
		if c == nil {
			return nil
		}
		out, open := c.state()
		fds = append(fds, open...)
		return out
	}
	for _, w := range h.workers {
		s.Workers = append(s.Workers, workerState{Phase: w.machine.phase, Served: w.served, Crashes: w.backoff.crashes, Main: keep(w.main)})
	}
	for c := range h.leaving {
		s.Leaving = append(s.Leaving, *keep(c))
	}
	for {
		select {
		case sig := <-h.signals:
			s.Signals = append(s.Signals, sig.(syscall.Signal))
			continue
		default:
		}
		return s, fds
	}
}

func (c *process) state() (*copyState, []int) {
	out := &copyState{
		Worker: c.worker.index, PID: c.pid, Group: c.group, Generation: c.generation, Began: c.began, Deadline: c.deadline,
		Inbox: -1, Stderr: -1, Ready: c.ready, Spoke: c.spoke, Proven: c.proven, Pinged: c.pinged, Asked: c.asked,
		Killed: c.killed, Ending: c.rest, Said: c.said, File: c.file,
	}
	if c.ended {
		return out, nil // only its group is there
	}
	out.Inbox, out.Address = fdOf(c.inbox), c.inbox.Address()
	fds := []int{out.Inbox}
	if c.stderr != nil && !c.stderr.ended() {
		out.Stderr = fdOf(c.stderr.reading)
		out.Tail = c.stderr.kept
		fds = append(fds, out.Stderr)
	}
	return out, fds
}

// fdOf is the descriptor's number, -1 if it is closed.
func fdOf(conn syscall.Conn) int {
	fd := -1
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Control(func(n uintptr) { fd = int(n) })
	}
	return fd
}

func (s *state) write() (int, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return -1, err
	}
	return sealed(data)
}

// takeState returns what the program before knew, or nil if this process is none that
// has upgraded itself. Then the descriptors are close-on-exec again.
func takeState() (*state, error) {
	if !Resumed() {
		return nil, nil
	}
	number, _, _ := strings.Cut(os.Getenv(stateVariable), " ")
	os.Unsetenv(stateVariable)
	fd, err := strconv.Atoi(number)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("the variable %s: descriptor %q", stateVariable, number)
	}
	data, err := readSealed(fd)
	if err != nil {
		return nil, fmt.Errorf("read the state of the holder before: %w", err)
	}
	s := new(state)
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("read the state of the holder before: %w", err)
	}
	if s.Version != stateVersion {
		return nil, fmt.Errorf("the state of the holder before is of version %d, and this one reads %d", s.Version, stateVersion)
	}
	var fds []int
	for _, socket := range s.Sockets {
		fds = append(fds, socket.FD)
	}
	for _, c := range s.copies() {
		if c.Inbox >= 0 {
			fds = append(fds, c.Inbox)
		}
		if c.Stderr >= 0 {
			fds = append(fds, c.Stderr)
		}
	}
	return s, setCloseOnExec(fds, true)
}

func (s *state) copies() (all []*copyState) {
	for _, w := range s.Workers {
		if w.Main != nil {
			all = append(all, w.Main)
		}
	}
	for i := range s.Leaving {
		all = append(all, &s.Leaving[i])
	}
	return all
}

func (s *state) sockets() ([]Socket, error) {
	var all []Socket
	for _, in := range s.Sockets {
		f := os.NewFile(uintptr(in.FD), in.Name)
		if f == nil {
			return nil, fmt.Errorf("socket %q: descriptor %d is not open", in.Name, in.FD)
		}
		socket := Socket{File: handoff.File{Name: in.Name, Conn: f}, Path: in.Path}
		var err error
		switch in.Network {
		case "tcp":
			socket.Addr, err = net.ResolveTCPAddr("tcp", in.Addr)
		case "udp":
			socket.Addr, err = net.ResolveUDPAddr("udp", in.Addr)
		case "unix", "unixgram", "unixpacket":
			socket.Addr = &net.UnixAddr{Name: in.Addr, Net: in.Network}
		}
		if err != nil {
			return nil, fmt.Errorf("socket %q: %w", in.Name, err)
		}
		all = append(all, socket)
	}
	return all, nil
}

// resume goes on where the program before has ended.
func (h *Holder) resume(s *state) error {
	h.generation, h.reexecs, h.began, h.speaks, h.believed, h.lastErr = s.Generation, s.Reexecs, s.Began, s.Speaks, s.Believed, s.LastError
	h.upgrades = s.Upgrades
	h.manager = &manager{told: s.Told, said: s.Said} // the rest follows in Run
	h.mask = &unix.Sigset_t{}
	copy(h.mask.Val[:], s.Mask)
	h.paths = map[string]fileID{}
	for _, in := range s.Sockets {
		if in.Path != "" {
			h.paths[in.Path] = fileID{in.Device, in.Number}
		}
	}
	for len(h.workers) < len(s.Workers) { // the arguments are the same, so this is none but a precaution
		h.addWorker(len(h.workers))
	}
	for i, in := range s.Workers {
		w := h.workers[i]
		w.machine.phase, w.served, w.backoff.crashes = in.Phase, in.Served, in.Crashes
		if in.Main == nil {
			continue
		}
		var err error
		if w.main, err = h.revive(in.Main); err != nil {
			return err
		}
	}
	for _, in := range s.Leaving {
		c, err := h.revive(&in)
		if err != nil {
			return err
		}
		h.leaving[c] = true
	}
	h.past = s.Signals
	return nil
}

func (h *Holder) revive(in *copyState) (c *process, err error) {
	if in.Worker < 0 || in.Worker >= len(h.workers) || in.PID <= 1 || in.Group <= 1 {
		return nil, errors.New("the state of the holder before makes no sense")
	}
	c = &process{
		holder: h, hearing: h.newRest(), worker: h.workers[in.Worker], pid: in.PID, group: in.Group, generation: in.Generation, began: in.Began,
		deadline: in.Deadline, ready: in.Ready, spoke: in.Spoke, proven: in.Proven, pinged: in.Pinged, asked: in.Asked,
		killed: in.Killed, rest: in.Ending, ended: in.Ending, said: in.Said, file: in.File,
	}
	if in.Inbox >= 0 {
		if c.inbox, err = notify.Resume(os.NewFile(uintptr(in.Inbox), "notify"), in.Address); err != nil {
			return nil, err
		}
	}
	if in.Stderr >= 0 {
		c.stderr = h.pumpOf(os.NewFile(uintptr(in.Stderr), "stderr"))
		c.stderr.kept = in.Tail
	}
	return c, nil
}

// resumed goes on with a worker of the program before.
func (w *worker) resumed() {
	h := w.holder
	if w.main != nil {
		w.main.begin()
	}
	if w.machine.phase == phaseBackoff {
		w.wait(w.backoff.min, eventRetry)
	}
	if w.index > 0 {
		return
	}
	for c := range h.leaving {
		if !c.ended {
			c.begin()
		}
		c.killAfter(time.Until(c.deadline))
	}
	for _, sig := range h.past {
		h.soon(func() { h.signalled(sig) })
	}
	h.past = nil
	h.log("the holder has upgraded itself; generation %d serves on", h.generation)
}

// fileID tells a file from others, as long as it is there.
type fileID struct{ device, number uint64 }

func fileAt(path string) fileID {
	var stat unix.Stat_t
	if unix.Lstat(path, &stat) != nil {
		return fileID{}
	}
	return fileID{uint64(stat.Dev), stat.Ino}
}
