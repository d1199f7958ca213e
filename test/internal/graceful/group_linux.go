package graceful

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// RunGroup is Run with the service in a process group of its own, all of whose
// processes Processes finds. Whose predecessor has ended is the test's own child;
// the test reaps it at its end, as the init of a system does.
func (s *Server) RunGroup(cmd *exec.Cmd) {
	s.T.Helper()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	stop, stopped := make(chan struct{}), make(chan struct{})
	s.T.Cleanup(func() { close(stop); <-stopped })
	s.Run(cmd)
	go func() {
		defer close(stopped)
		for tick := time.NewTicker(2 * time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
				s.reap()
			}
		}
	}()
}

// reap leaves the first generation, which the test has started, to whoever waits
// for it.
func (s *Server) reap() {
	select {
	case <-s.First.Exited():
	default:
		for _, p := range s.Processes() {
			if p.PID == s.First.Pid() && p.State == 'Z' {
				return
			}
		}
	}
	for {
		pid, err := unix.Wait4(-s.First.Pid(), nil, unix.WNOHANG, nil)
		if err != unix.EINTR && pid <= 0 {
			return
		}
	}
}

// A Process is one of the service's, zombies included.
type Process struct {
	PID, Parent int
	State       byte // as in proc_pid_stat(5): R, S, D, T, Z, …
}

// Processes returns the processes of a service that RunGroup has started.
func (s *Server) Processes() (all []Process) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		s.T.Fatal(err)
	}
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if p, group := readStat(pid); group == s.First.Pid() {
			all = append(all, p)
		}
	}
	return all
}

// readStat returns a process and its group, which is 0 when it is gone.
func readStat(pid int) (p Process, group int) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return p, 0
	}
	// The name, which may hold anything, ends with the last parenthesis.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 3 {
		return p, 0
	}
	p.PID, p.State = pid, fields[0][0]
	p.Parent, _ = strconv.Atoi(fields[1])
	group, _ = strconv.Atoi(fields[2])
	return p, group
}

// Kill sends a signal to a process of the service that RunGroup has started. It
// reports whether there was such a process.
func (s *Server) Kill(pid int, sig unix.Signal) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	// Once the descriptor is open, the number can't pass on to another process.
	if p, group := readStat(pid); group != s.First.Pid() || p.State == 'Z' {
		return false
	}
	return unix.PidfdSendSignal(fd, sig, nil, 0) == nil
}

// AwaitAlone waits until a process is the only one of the service.
func (s *Server) AwaitAlone(pid int) {
	s.T.Helper()
	proctest.Until(s.T, fmt.Sprintf("process %d is the only one of the service", pid), func() error {
		all := s.Processes()
		if len(all) != 1 || all[0].PID != pid {
			return fmt.Errorf("there are %v", all)
		}
		return nil
	})
}

// StopGroup stops the service, whoever is the main generation, and waits until
// nothing of it is left.
func (s *Server) StopGroup() {
	s.T.Helper()
	if !s.Kill(s.Main(), unix.SIGTERM) {
		s.T.Errorf("the main process %d is gone", s.Main())
	}
	proctest.Until(s.T, "all processes of the service have ended", func() error {
		if all := s.Processes(); len(all) > 0 {
			return fmt.Errorf("there are %v", all)
		}
		return nil
	})
	if _, err := s.ReadPID(); !errors.Is(err, os.ErrNotExist) {
		s.T.Errorf("the PID file is still there: %v", err)
	}
}

func (p Process) String() string { return fmt.Sprintf("%d (%c)", p.PID, p.State) }
