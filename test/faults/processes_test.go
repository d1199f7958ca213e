//go:build linux

package faults

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/test/internal/proctest"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { proctest.Main(m) }

// processes are those of one service. Each is watched by a pidfd from the moment
// that it shows itself in the service's directory, and reaped when it has become
// this process's child.
type processes struct {
	t     testing.TB
	dir   string
	first int // is waited for by whoever has started it

	mu     sync.Mutex
	pidfds map[int]int
	order  []int // in which they were seen
	stop   chan struct{}
	done   sync.WaitGroup
	once   sync.Once
}

func watchProcesses(t testing.TB, dir string, first int) *processes {
	p := &processes{t: t, dir: dir, first: first, pidfds: make(map[int]int), stop: make(chan struct{})}
	p.look()
	p.noteLocked(strconv.Itoa(first)) // it may know itself by another number
	p.done.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.look()
			case <-p.stop:
				return
			}
		}
	})
	return p
}

func (p *processes) close() {
	p.once.Do(func() {
		close(p.stop)
		p.done.Wait()
		for _, fd := range p.pidfds {
			unix.Close(fd)
		}
	})
}

// look finds new processes, and reaps ended ones.
func (p *processes) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	text, _ := os.ReadFile(filepath.Join(p.dir, "started"))
	for line := range strings.Lines(string(text)) {
		first, _, _ := strings.Cut(line, " ")
		p.noteLocked(first)
	}
	held, _ := filepath.Glob(filepath.Join(p.dir, "at.*"))
	for _, file := range held {
		p.noteLocked(strings.TrimPrefix(filepath.Ext(file), "."))
	}
	for pid, fd := range p.pidfds {
		if pid != p.first && fd >= 0 {
			_ = unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOHANG, nil)
		}
	}
}

func (p *processes) noteLocked(number string) {
	pid, err := strconv.Atoi(number)
	if err != nil || pid == 1 { // 1 is a service in a pid namespace of its own
		return
	}
	if _, known := p.pidfds[pid]; known {
		return
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		fd = -1 // it has ended already
	}
	p.pidfds[pid] = fd
	p.order = append(p.order, pid)
}

// all returns the pids in the order in which they were seen.
func (p *processes) all() []int {
	p.look()
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]int(nil), p.order...)
}

func (p *processes) alive(pid int) bool {
	p.mu.Lock()
	fd, known := p.pidfds[pid]
	p.mu.Unlock()
	if !known || fd < 0 {
		return false
	}
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if err != unix.EINTR {
			return err == nil && n == 0
		}
	}
}

// ended waits for the end of a process.
func (p *processes) ended(pid int) {
	p.t.Helper()
	proctest.Until(p.t, fmt.Sprintf("process %d ends", pid), func() error {
		if p.alive(pid) {
			return fmt.Errorf("it is %s", processState(pid))
		}
		return nil
	})
}

// gone waits for the end of all.
func (p *processes) gone() {
	p.t.Helper()
	for _, pid := range p.all() {
		p.ended(pid)
	}
}

// signal fails the test if the process has ended.
func (p *processes) signal(pid int, sig syscall.Signal) {
	p.t.Helper()
	if !p.signalAny(pid, sig) {
		p.t.Fatalf("signal %v: process %d has ended", sig, pid)
	}
}

// signalAny reports whether the process has not ended.
func (p *processes) signalAny(pid int, sig syscall.Signal) bool {
	p.t.Helper()
	p.mu.Lock()
	fd, known := p.pidfds[pid]
	p.mu.Unlock()
	if !known {
		p.t.Fatalf("signal %v: process %d is unknown", sig, pid)
	}
	if fd < 0 {
		return false
	}
	switch err := unix.PidfdSendSignal(fd, sig, nil, 0); err {
	case nil:
	case unix.ESRCH:
		return false
	default:
		p.t.Fatalf("signal %v to process %d: %v", sig, pid, err)
	}
	if sig == syscall.SIGSTOP {
		proctest.Until(p.t, fmt.Sprintf("process %d stops", pid), func() error {
			if s := processState(pid); s != "T" {
				return fmt.Errorf("its state is %s", s)
			}
			return nil
		})
	}
	return true
}

// processState returns the letter of proc_pid_stat(5).
func processState(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "gone"
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	return string(fields[0])
}

// descriptors counts a process's descriptors by kind, without TCP sockets, which
// come and go with the load.
func descriptors(pid int) (map[string]int, error) {
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/unix", pid))
	if err != nil {
		return nil, err
	}
	unixSockets := make(map[string]bool)
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 6 {
			unixSockets["socket:["+fields[6]+"]"] = true
		}
	}
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	count := make(map[string]int)
	for _, link := range links {
		to, err := os.Readlink(link)
		kind, _, isKind := strings.Cut(to, "[")
		if err != nil || isKind && kind == "socket:" && !unixSockets[to] {
			continue
		}
		count[kind]++
	}
	return count, err
}
