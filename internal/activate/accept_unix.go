//go:build unix

package activate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"golang.org/x/sys/unix"
)

// children are the programs that run.
type children struct {
	sync.Mutex
	sync.WaitGroup
	running map[int]*os.Process
	ended   func() // called after each
}

func (c *children) count() int {
	c.Lock()
	defer c.Unlock()
	return len(c.running)
}

func (c *children) signal(sig os.Signal) {
	c.Lock()
	defer c.Unlock()
	for _, p := range c.running {
		_ = p.Signal(sig) // not to one that was reaped: os.Process knows
	}
}

func (s Server) serve(ctx context.Context, stopped func()) error {
	// A child's death signal comes when the thread ends that started it.
	runtime.LockOSThread()
	closeOnExecAll()
	w, err := newWaker()
	if err != nil {
		return err
	}
	defer w.close()
	defer context.AfterFunc(ctx, w.wake)()
	c := &children{running: map[int]*os.Process{}, ended: w.wake}
	err = s.accept(ctx, w, c)
	stopped()
	s.end(c)
	return err
}

func (s Server) accept(ctx context.Context, w *waker, c *children) error {
	names := map[int]string{}
	var fds []int
	for _, l := range s.Listeners {
		if err := unix.SetNonblock(l.FD, true); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
		names[l.FD] = l.Name
		fds = append(fds, l.FD)
	}
	for {
		wanted := fds
		if c.count() >= s.Most {
			wanted = nil // until one has ended
		}
		ready, err := w.poll(wanted)
		if ctx.Err() != nil || err != nil {
			return err
		}
		for _, fd := range ready {
			if c.count() >= s.Most {
				break
			}
			if err := s.acceptOne(fd, names[fd], c); err != nil {
				return err
			}
		}
	}
}

func (s Server) acceptOne(fd int, name string, c *children) error {
	conn, peer, err := acceptConn(fd)
	switch {
	case err == nil:
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ECONNABORTED), errors.Is(err, unix.EINTR):
		return nil // somebody else has it, or it has gone
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
		s.log("a connection waits: %v", os.NewSyscallError("accept", err))
		time.Sleep(100 * time.Millisecond) // there is nothing to wait for but the end of a child
		return nil
	case notTheListeners(err):
		return nil
	default:
		return os.NewSyscallError("accept", err)
	}
	file := os.NewFile(uintptr(conn), name)
	defer file.Close() // the child has its own
	from := Peer(peer)
	cmd, err := s.start(file, name, from)
	if err != nil {
		s.log("connection from %s: %v", from, err)
		return nil
	}
	s.log("connection from %s: started process %d", from, cmd.Process.Pid)
	c.Lock()
	c.running[cmd.Process.Pid] = cmd.Process
	c.Unlock()
	c.Go(func() {
		err := cmd.Wait()
		c.Lock()
		delete(c.running, cmd.Process.Pid)
		c.Unlock()
		if cmd.ProcessState != nil {
			s.log("process %d ended: %v", cmd.Process.Pid, cmd.ProcessState)
		} else {
			s.log("process %d: %v", cmd.Process.Pid, err)
		}
		c.ended()
	})
	return nil
}

// notTheListeners tells an error of a connection that failed while it waited, which
// Linux reports by accept(2), see its page.
func notTheListeners(err error) bool {
	return slices.ContainsFunc([]error{unix.ENETDOWN, unix.EPROTO, unix.ENOPROTOOPT, unix.EHOSTDOWN, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ETIMEDOUT, unix.EPERM},
		func(e error) bool { return errors.Is(err, e) })
}

func (s Server) log(format string, args ...any) {
	if s.Log != nil {
		s.Log(format, args...)
	}
}

// start starts the program on a connection. Its environment has the peer's address, as
// that of a unit with Accept=yes has, see systemd.exec(5).
func (s Server) start(conn *os.File, name string, from PeerAddr) (*exec.Cmd, error) {
	cmd := &exec.Cmd{Path: s.Program.Path, Args: s.Program.Args, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	cmd.SysProcAttr = dieWithParent()
	more := from.variables()
	var err error
	switch {
	case s.Inetd:
		cmd.Stdin, cmd.Stdout = conn, conn
		cmd.Env = s.Environ.With(more...)
		err = handoff.Export(cmd)
	case s.NoPID:
		cmd.ExtraFiles = []*os.File{conn}
		cmd.Env = s.Environ.With(append(more, Sockets([]string{name}, firstFD, 0)...)...)
		err = cmd.Start()
	default:
		cmd.Env = s.Environ.With(more...)
		err = handoff.Export(cmd, handoff.File{Name: name, Conn: conn})
	}
	return cmd, err
}

// end waits for the programs.
func (s Server) end(c *children) {
	if n := c.count(); n > 0 {
		s.log("waiting for %s", plural(n, "process"))
	}
	c.signal(unix.SIGTERM)
	done := make(chan struct{})
	go func() { c.Wait(); close(done) }()
	for hurry := 0; ; {
		select {
		case <-done:
			return
		case <-s.Hurry:
			if hurry++; hurry > 1 {
				c.signal(os.Kill)
			}
		}
	}
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ses", n, noun)
}
