package activate

import (
	"context"
	"os"
)

// Server starts a program for each connection, as a .socket unit with Accept=yes does.
type Server struct {
	Program Program
	Environ Environ
	// Listeners are descriptors that connections come in by. They are put into
	// non-blocking mode, for all processes that share them.
	Listeners []Listener
	// Inetd has the connection be standard input and output, in place of descriptor 3.
	Inetd bool
	// NoPID leaves LISTEN_PID out.
	NoPID bool
	// Most is how many programs run at once; above it connections wait in the queue.
	Most int
	// Log gets a line for each event; it may be nil.
	Log func(format string, args ...any)
	// Hurry has what asks for the end, again: the second value kills the programs.
	// The first is for the end itself.
	Hurry <-chan os.Signal
}

// Listener is one of a Server's.
type Listener struct {
	FD   int
	Name string // of the connections
}

// Serve accepts until ctx ends. Then it calls stopped, which is to close the listeners,
// sends SIGTERM to the programs that run, as those of systemd-socket-activate get when
// it ends, and waits for them. It returns nil then.
//
// A program that can't be started, or that fails, costs its connection and no other.
// An error is about a listener. Where there is no execve(2) it wraps [ErrUnsupported].
func (s Server) Serve(ctx context.Context, stopped func()) error { return s.serve(ctx, stopped) }
