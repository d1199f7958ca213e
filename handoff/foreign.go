package handoff

import (
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/address"
	"github.com/handoff-dev/handoff/handoff/internal/foreign"
	"github.com/handoff-dev/handoff/handoff/internal/link"
	"github.com/handoff-dev/handoff/handoff/internal/stage"
	"github.com/handoff-dev/handoff/internal/unixpath"
)

func init() {
	foreign.New = func(options any, peer foreign.Peer) (any, error) {
		return newWithPeer(options.(Options), peer)
	}
	foreign.Listen = func(up any, name, network, addr string, bind foreign.Bind[net.Listener]) (net.Listener, error) {
		return up.(*Upgrader).listen(name, network, addr, binder[net.Listener](bind))
	}
	foreign.ListenPacket = func(up any, name, network, addr string, bind foreign.Bind[net.PacketConn]) (net.PacketConn, error) {
		return up.(*Upgrader).listenPacket(name, network, addr, PacketOptions{}, binder[net.PacketConn](bind))
	}
	foreign.Parent = func(up any) <-chan struct{} { return up.(*Upgrader).orphaned }
}

// inheritFrom reads what was passed to this process. Another toolkit's predecessor
// passes nothing by the variables, so those that there are were meant for it.
func inheritFrom(p *foreign.Predecessor, opts InheritOptions) (*Set, []origin, error) {
	if p == nil {
		set, err := Inherit(opts)
		return set, nil, err
	}
	for _, variable := range envAll {
		os.Unsetenv(variable)
	}
	set := setOfFiles(p.Files)
	origins := make([]origin, len(p.Files))
	for e := range set.All() {
		f := p.Files[e.Index]
		o := origin{Ours: true, Network: f.Network, Address: f.Address}
		if a, ok := e.Addr.(*net.UnixAddr); ok && unixpath.Is(a.Name) && !secureMode() {
			path := address.CleanPath(a.Name)
			if info, err := os.Lstat(path); err == nil {
				o.Path = path
				o.Device, o.Inode = fileID(info)
			}
		}
		origins[e.Index] = o
	}
	return set, origins, nil
}

// nameless tells whether the predecessor was another toolkit's, which knew no names.
func (u *Upgrader) nameless() bool { return u.peer.Predecessor != nil }

// meetForeign is meetPredecessor when that is another toolkit's.
func (u *Upgrader) meetForeign() error {
	os.Unsetenv(stage.LinkVariable)
	u.generation = 2
	go func() {
		<-u.peer.Predecessor.Ended
		close(u.orphaned)
	}()
	return u.meetManager("", false)
}

// relieve tells another toolkit's predecessor that it can go. Has it died, then this
// generation goes on alone.
func (u *Upgrader) relieve() {
	if err := u.peer.Predecessor.Ready(); err != nil {
		u.log.Warn("telling the predecessor", "error", err)
	}
}

// namedByFile tells whether a service manager that gave no NOTIFY_SOCKET may learn
// the main process from the PID file: so units are written for the other toolkit
// (PIDFile=, systemd.service(5)), and systemd reads the file when the main process
// ends.
func (u *Upgrader) namedByFile() bool { return u.peer.GoBetween != nil && u.opts.PIDFile != "" }

// goBetween is successor.goBetween.
func (u *Upgrader) goBetween(cmd *exec.Cmd) (bool, error) {
	if u.peer.GoBetween == nil {
		return false, nil
	}
	return u.peer.GoBetween(cmd, u.opts.ReadyTimeout)
}

// findGoBetween makes cmd the go-between if there has to be one.
func (s *successor) findGoBetween() (err error) {
	if s.goBetween != nil {
		s.foreign, err = s.goBetween(s.cmd)
	}
	return err
}

// signaled is a process that can be sent a signal.
type signaled interface {
	Signal(os.Signal) error
	Kill() error
}

// relay is a program that a go-between has started in our name. Nobody here can
// wait for it as for a child.
type relay struct {
	pid   int
	pidfd *os.File
	held  []*os.File // its proof that this process lives
}

func (r *relay) Kill() error { return r.Signal(os.Kill) }

// process is whom the successor's signals go to.
func (s *successor) process() signaled {
	if s.relay != nil {
		return s.relay
	}
	return s.cmd.Process
}

// noteRelay keeps what a go-between says of the program that it has started.
func (s *successor) noteRelay(m link.Message) {
	var told link.Started
	if !s.foreign || s.relayed != nil || m.Decode(&told) != nil || told.PID <= 0 || len(m.Files) < 1 {
		m.Close()
		return
	}
	s.relayed = &relay{pid: told.PID, pidfd: m.Files[0], held: m.Files[1:]}
}

// followRelay is when a go-between has ended, which err tells: the successor is ready,
// and followRelay waits for its end; or there is none. followed is closed when all that
// the go-between has said is known.
//
// That its parent has ended first is as it must be: a process that systemd is told of
// while some other process is its parent never counts as a child of systemd's, see
// startSibling.
func (u *Upgrader) followRelay(s *successor, followed <-chan struct{}, err error) error {
	select {
	case <-followed:
	case <-time.After(grace):
		return err // something that it has started holds its end of the link
	}
	r := s.relayed
	if r == nil {
		return err
	}
	u.post(occurrence{run: func() {
		s.relay, s.pid = r, r.pid
		switch {
		case s != u.successor:
		case s.ending:
			s.terminate() // the signal has missed it
		case u.machine.phase == phaseUpgrading:
			s.ready = true
			u.handle(occurrence{event: eventSuccessorReady, from: s})
		}
	}})
	return waitSibling(r.pidfd)
}

// reclaim undoes what a successor that has failed has done at its own ready, where
// it didn't wait for our commit.
func (u *Upgrader) reclaim(s *successor) {
	if s.relay == nil {
		return
	}
	closeAll(s.relay.held)
	if err := u.namePID(os.Getpid()); err != nil {
		u.log.Error("after the successor's end", "error", err)
	}
}
