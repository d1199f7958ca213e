package supervise

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff"
)

// ErrUnsupported is wrapped by the error of Run where the system can't do what a holder
// needs; this is Linux's so far.
var ErrUnsupported = errors.ErrUnsupported

// Restart says after which ends a copy is followed by another.
type Restart string

// The policies. A copy that was asked to stop is never followed by another.
const (
	RestartOnFailure Restart = "on-failure" // after any end but exit status 0
	RestartAlways    Restart = "always"     // after any end, the very first start included
	RestartNever     Restart = "never"
)

// Socket is one that the copies get.
type Socket struct {
	handoff.File
	// Addr is where an IP or a unix socket is bound; nil for others.
	Addr net.Addr
	// Path is the file that was made for the socket, to be removed at the end; "": none.
	Path string
}

// Options say what to hold and how. Args must be set, the rest need not.
type Options struct {
	// Args are the program, which is looked for as a shell does, and its arguments. The
	// file is looked for again at each start.
	Args []string
	// Sockets are given to each copy, in their order. The holder never closes them.
	Sockets []Socket
	// Workers is how many copies serve at a time. 0: 1.
	Workers int
	// Ready is how a copy is known to be ready.
	Ready Ready
	// ReadyHost is the Host header of what Ready asks by HTTP. "": the address's, or
	// localhost where that is no single host's.
	ReadyHost string
	// ReadyTimeout is how long that may take. 0: a minute.
	ReadyTimeout time.Duration
	// Probation is how long a new copy serves together with the old one before that is
	// asked to stop. 0: a second; negative: no time.
	Probation time.Duration
	// StopSignal asks a copy to stop. 0: SIGTERM.
	StopSignal syscall.Signal
	// StopTimeout is how long that may take before SIGKILL. 0: a minute.
	StopTimeout time.Duration
	// Restart is the policy. "": RestartOnFailure.
	Restart Restart
	// BackoffMin and BackoffMax bound the wait before a restart. 0: 100 ms and 30 s.
	BackoffMin, BackoffMax time.Duration
	// EnvFiles are read anew at each start; what a later one sets counts.
	EnvFiles []string
	// Compat names the other holders, of Compats, whose variables are set too.
	Compat []string
	// DirectStderr gives the copies the holder's own standard error. Else it is a pipe,
	// of which the holder passes on every byte and keeps the last ones for the error of a
	// failed start.
	DirectStderr bool
	// Program is the holder's own executable, for SIGUSR2. "": what this process runs.
	Program string
	// CheckArgs are the arguments with which Program prints [CheckLine], and does nothing
	// else, if it can take over.
	CheckArgs []string
	// Control is the path of the control socket, for the holder's own user and root. Its
	// directory is made if there is none. "": no control socket.
	Control string
	// ControlOptional: without it the holder does its work too, and logs why.
	ControlOptional bool
	// Log gets a line for each event. It may be nil.
	Log func(line string)
}

func orElse[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// Check returns what is wrong with o, as far as that doesn't depend on the sockets.
func (o Options) Check() error {
	o.Sockets = []Socket{{Addr: &net.TCPAddr{}}}
	_, err := o.withDefaults()
	return err
}

// withDefaults returns o with its zero values replaced, or says what is wrong with it.
func (o Options) withDefaults() (Options, error) {
	orElse(&o.Workers, 1)
	orElse(&o.ReadyTimeout, time.Minute)
	orElse(&o.Probation, time.Second)
	orElse(&o.StopSignal, syscall.SIGTERM)
	orElse(&o.StopTimeout, time.Minute)
	orElse(&o.Restart, RestartOnFailure)
	orElse(&o.BackoffMin, 100*time.Millisecond)
	orElse(&o.BackoffMax, 30*time.Second)
	o.BackoffMin = min(o.BackoffMin, o.BackoffMax)
	if o.Log == nil {
		o.Log = func(string) {}
	}
	if o.Program == "" {
		o.Program, _ = os.Executable() // without it SIGUSR2 fails, and says so
	}
	switch {
	case len(o.Args) == 0 || o.Args[0] == "":
		return o, errors.New("the program is missing")
	case o.Workers < 0:
		return o, fmt.Errorf("%d workers: want 1 or more", o.Workers)
	case o.ReadyTimeout < 0 || o.StopTimeout < 0 || o.BackoffMin < 0:
		return o, errors.New("a timeout is negative")
	case !slices.Contains([]Restart{RestartOnFailure, RestartAlways, RestartNever}, o.Restart):
		return o, fmt.Errorf("the restart policy %q is none of on-failure, always and never", o.Restart)
	case o.Ready.kind == readyHTTP && o.httpSocket() == nil:
		return o, errors.New("to be asked by HTTP the program needs a stream socket of TCP or unix")
	case o.ReadyHost != "" && o.Ready.kind != readyHTTP:
		return o, errors.New("a host for the question whether the program is ready goes with http=PATH alone")
	case strings.ContainsFunc(o.ReadyHost, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '/' }):
		return o, fmt.Errorf("the host %q for the question whether the program is ready is none: want NAME or NAME:PORT", o.ReadyHost)
	case o.Ready.kind == readyAfter && o.Ready.after > o.ReadyTimeout:
		return o, fmt.Errorf("ready after %v is later than the timeout of %v", o.Ready.after, o.ReadyTimeout)
	}
	for _, kind := range o.Compat {
		if !slices.Contains(Compats, kind) {
			return o, fmt.Errorf("%q is none of %s", kind, strings.Join(Compats, ", "))
		}
	}
	return o, nil
}

// httpSocket is where a copy is asked: the socket named "http", or else the first that
// connections come in by; nil if there is none.
func (o Options) httpSocket() net.Addr {
	var found net.Addr
	for _, s := range o.Sockets {
		if s.Addr == nil || s.Addr.Network() != "tcp" && s.Addr.Network() != "unix" {
			continue
		}
		if s.Name == "http" {
			return s.Addr
		}
		if found == nil {
			found = s.Addr
		}
	}
	return found
}

// addrs are those of the sockets.
func (o Options) addrs() []net.Addr {
	addrs := make([]net.Addr, len(o.Sockets))
	for i, s := range o.Sockets {
		addrs[i] = s.Addr
	}
	return addrs
}
