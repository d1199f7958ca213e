package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/activate"
	"github.com/handoff-dev/handoff/internal/spec"
	"github.com/handoff-dev/handoff/internal/terminal"
)

// An activation has the sockets, and is about to start a program on them.
type activation struct {
	opt       execOptions
	program   activate.Program
	inherited *handoff.Set
	opened    []*spec.Socket
	fds       []int // of all
	names     []string
	errs      io.Writer
	errsLock  sync.Mutex
}

// newActivation takes over what LISTEN_FDS gave to this process, and opens the rest.
func newActivation(cmd *cobra.Command, opt execOptions, specs []spec.Spec) (*activation, error) {
	inherited, err := handoff.Inherit(handoff.InheritOptions{})
	if err != nil {
		hint := "it is the fault of what started this command, or left over from it: 'env -u LISTEN_FDS handoff exec ...' goes without"
		return nil, codeError{withHint(err, hint), exitExecFailed}
	}
	a := &activation{opt: opt, inherited: inherited, errs: cmd.ErrOrStderr()}
	if err := a.checkCount(len(specs)); err != nil {
		return nil, err
	}
	if a.opened, err = spec.Open(cmd.Context(), specs); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			err = withHint(err, "another process has the address: 'ss -lxp' and 'ss -ltup' say which")
		}
		return nil, codeError{err, exitExecFailed}
	}
	a.number(len(specs))
	for i, s := range a.opened {
		a.say("listening on %s as descriptor %d", s, a.descriptor(inherited.Len()+i))
	}
	if err := a.writeFile(); err != nil {
		a.discard()
		return nil, codeError{err, exitExecFailed}
	}
	return a, nil
}

func (a *activation) checkCount(opened int) error {
	switch n := a.inherited.Len() + opened; {
	case n == 0:
		return withHint(usagef("there is no socket"), "open one by --listen, such as -l 8080")
	case a.opt.inetd && !a.opt.accept && n > 1:
		return usagef("--inetd is for one socket, or for --accept, and there are %d sockets", n)
	case opened == 0 && len(a.opt.names) > 1 && len(a.opt.names) != n:
		return usagef("--fdname gives %d names, and there are %d sockets", len(a.opt.names), n)
	}
	return nil
}

// number lists the descriptors with their names, the inherited before the opened. The
// names of the inherited stay, unless there are no others for --fdname to be for.
func (a *activation) number(opened int) {
	for e := range a.inherited.All() {
		name := e.Name
		switch n := len(a.opt.names); {
		case opened > 0 || n == 0:
		case n == 1:
			name = a.opt.names[0]
		default:
			name = a.opt.names[e.Index]
		}
		a.fds, a.names = append(a.fds, e.FD), append(a.names, name)
	}
	for _, s := range a.opened {
		a.fds, a.names = append(a.fds, fdOf(s.Conn)), append(a.names, s.Name)
	}
}

// fdOf is the descriptor's number, -1 if it is closed.
func fdOf(conn syscall.Conn) int {
	fd := -1
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Control(func(n uintptr) { fd = int(n) })
	}
	return fd
}

// descriptor is which one the program has the socket as.
func (a *activation) descriptor(i int) int {
	if a.opt.inetd {
		return 0
	}
	if a.opt.accept {
		return 3
	}
	return a.opt.first + i
}

func (a *activation) say(format string, args ...any) {
	if a.opt.quiet {
		return
	}
	a.errsLock.Lock()
	defer a.errsLock.Unlock()
	fmt.Fprintf(a.errs, "handoff: %s\n", terminal.Text(fmt.Sprintf(format, args...)))
}

func (a *activation) writeFile() error {
	if a.opt.writeFile == "" {
		return nil
	}
	var text strings.Builder
	for _, s := range a.opened {
		fmt.Fprintln(&text, s)
	}
	if err := os.WriteFile(a.opt.writeFile, []byte(text.String()), 0o666); err != nil {
		return fmt.Errorf("write the addresses: %w", err)
	}
	return nil
}

func (a *activation) discard() {
	for _, s := range a.opened {
		_ = s.Discard() // there is an error already, or the end
	}
}

func (a *activation) run(ctx context.Context) error {
	switch {
	case runtime.GOOS == "windows":
		return a.runSystemfd()
	case a.opt.accept:
		return a.accept(ctx)
	case a.opt.lazy:
		err := activate.Wait(ctx, a.fds)
		if ctx.Err() != nil {
			a.say("ended before there was a connection")
			a.discard()
			return nil
		}
		if err != nil {
			return codeError{err, exitExecFailed}
		}
	}
	var sockets []string
	if !a.opt.inetd {
		pid := os.Getpid()
		if a.opt.noPID {
			pid = 0
		}
		sockets = activate.Sockets(a.names, a.opt.first, pid)
	}
	// What this process's parent has it ignore, the program is to ignore too.
	signal.Reset(os.Interrupt, syscall.SIGTERM)
	place := activate.Place{First: a.opt.first, Inetd: a.opt.inetd}
	err := activate.Become(a.program, a.opt.environ.With(sockets...), a.fds, place)
	runtime.KeepAlive(a.opened) // which holds fds open
	return notExecuted(err)
}

func (a *activation) accept(ctx context.Context) error {
	s := activate.Server{Program: a.program, Environ: a.opt.environ, Inetd: a.opt.inetd, NoPID: a.opt.noPID, Most: a.opt.most, Log: a.say}
	s.Environ.Connection = true
	for i, fd := range a.fds {
		if err := activate.MustListen(fd); err != nil {
			return codeError{fmt.Errorf("accept from socket %d %q: %w", i, a.names[i], err), exitExecFailed}
		}
		name := a.names[i]
		if name == spec.Unnamed {
			name = "connection" // as systemd calls it
		}
		s.Listeners = append(s.Listeners, activate.Listener{FD: fd, Name: name})
	}
	hurry := make(chan os.Signal, 2)
	signal.Notify(hurry, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(hurry)
	s.Hurry = hurry
	err := s.Serve(ctx, func() {
		a.discard()
		_ = a.inherited.Close()
	})
	if err != nil {
		return codeError{fmt.Errorf("accept connections: %w", err), exitExecFailed}
	}
	return nil
}

// runSystemfd is for Windows.
func (a *activation) runSystemfd() error {
	if a.opt.accept || a.opt.lazy || a.opt.inetd {
		err := fmt.Errorf("--accept, --lazy and --inetd: %w on Windows", errors.ErrUnsupported)
		return codeError{err, exitExecFailed}
	}
	var conns []syscall.Conn
	for _, s := range a.opened {
		conns = append(conns, s.Conn)
	}
	code, err := activate.Systemfd(a.program, a.opt.environ, conns)
	if err != nil {
		return notExecuted(err)
	}
	a.discard()
	return codeError{nil, code}
}
