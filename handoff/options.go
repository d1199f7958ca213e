package handoff

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Options are the settings of an [Upgrader]. The zero value works.
type Options struct {
	// UpgradeSignals start an upgrade: of the newest generation, whichever one
	// gets the signal. nil means SIGHUP; an empty slice means none.
	UpgradeSignals []os.Signal
	// StopSignals stop the service when the newest generation gets one, and make
	// an older one that drains, or one that is stopping already, hurry. nil means
	// SIGTERM and SIGINT; an empty slice means none.
	StopSignals []os.Signal

	// ReadyTimeout is how long a successor may take from its start until it is
	// ready. It may ask for more by EXTEND_TIMEOUT_USEC (sd_notify(3)). 0 means
	// one minute. A successor that takes longer is ended, and the upgrade fails.
	ReadyTimeout time.Duration
	// Probation is how long a successor that is ready has to live before this
	// generation hands over for good. Meanwhile the successor accepts, and
	// should it die this generation accepts again, with no connection refused.
	// 0 means one second, less than 0 means none.
	Probation time.Duration
	// HealthCheck, if not nil, is asked during the probation, in this process,
	// whether the successor works: only the successor accepts then, so a request to
	// the service's own address reaches it. The probation lasts until it returns.
	// An error rolls back. Its context ends after ReadyTimeout.
	HealthCheck func(context.Context) error
	// DrainTimeout is how long the connections of a generation that has handed
	// over, or of a service that stops, may take to end. Then they are cut. 0
	// means 30 seconds.
	DrainTimeout time.Duration
	// DrainSpread is the time over which a generation that has handed over sends
	// the clients of an *http.Server away whose connections can't move to the
	// successor (TLS, HTTP/2, …), each at a random moment in it, for all of them
	// connect again: by GOAWAY, by "Connection: close" on the next answer after it,
	// or by closing what is idle then for DrainIdle. 0 means a millisecond for each
	// connection where there are more than 100, half of DrainTimeout at most; less
	// than 0 means at once.
	DrainSpread time.Duration
	// DrainIdle is how long such an HTTP/1 connection may be idle, counted from its
	// moment on, until it is closed. A request that its client sends just then is
	// lost, as with every server that closes idle connections, so it should be
	// longer than the clients take between two requests. 0 means as long as
	// DrainTimeout allows.
	DrainIdle time.Duration
	// MaxDraining is how many generations may drain at a time; when there are
	// more, the oldest has to hurry. 0 means 64.
	MaxDraining int

	// Readopt has this generation see to the service once more if its successor, the
	// main generation by now, dies while this one drains: by a crash or a SIGKILL, not
	// by a stop. Then it starts a successor of its own version (on Linux the very
	// file that it runs itself, whatever is on disk by now) with the sockets of
	// Listen and ListenPacket, which it has kept open, and with what Keep and Store
	// were given and is still open. Clients wait in the queues meanwhile; what only the
	// dead one had, its requests and sockets that it had opened itself, is lost. There is no
	// probation. The generations count on, the next upgrade takes the file
	// on disk as ever. This generation drains on; if it is done earlier, it waits for
	// its successor to be ready.
	//
	// There is one try. Of several generations that drain the youngest makes it. None
	// does when the one that has died was upgrading, for then its own successor goes
	// on, when this one has been told to hurry, or when its successor is another
	// program. What is not readopted is left to the service manager.
	//
	// It is for services that nobody else would start again at once: those without a
	// manager, or with one that goes by the PID file. Under systemd (INVOCATION_ID and
	// NOTIFY_SOCKET are set) it has no effect: there the death of the main process is
	// the end of the service, this process is ended too, and Restart= acts.
	// To another manager MAINPID and READY=1 are sent, which it may heed.
	//
	// The price is that the sockets stay open until this generation has ended: what
	// a newer version serves no more is not refused until then, and its addresses
	// can't be bound.
	Readopt bool

	// PIDFile is a file that names the main generation's pid: a decimal number and
	// a newline, mode 0644. It is replaced atomically when this one becomes the
	// main generation and when its successor does, and removed when the service
	// stops if it still names the process that stops. A relative path is taken
	// from the directory in which the process was started. "" means none.
	PIDFile string

	// Watchdog, if not nil, has the Upgrader keep the service manager's watchdog
	// quiet where the unit asks for it (WatchdogSec=, sd_watchdog_enabled(3)): the
	// main generation pings as long as Watchdog returns nil. It is to find out
	// whether the service works, in less than half of the interval, which is
	// when its context ends. When it fails or hangs, the manager acts.
	Watchdog func(context.Context) error

	// Control is the path of a unix socket by which the service is seen and controlled
	// (`handoff status`, `handoff upgrade`, curl --unix-socket): HTTP and JSON, see
	// docs/control.md, to this process's user and root. Its mode is 0600. Like the other
	// sockets it is handed on and removed at the end. A relative path is taken from the
	// directory in which the process was started. It has to be in a directory that only
	// this user or root may write to, or that is sticky; else New fails. "" means none.
	Control string
	// ControlGroup is a group, by name or number, whose members may control the service
	// too. The mode is 0660 then. "" means none.
	ControlGroup string
	// Preflight are arguments with which the successor's file is run before each
	// upgrade, to check itself and its configuration and to exit: {"-t"}, for example.
	// If it exits with another status than 0, the upgrade fails, with its output. It
	// gets none of the sockets, and has part of ReadyTimeout. nil means none.
	Preflight []string
	// Version is this program's version, for Upgrader.Status. "" means the main module's,
	// as the go command knows it.
	Version string

	// Command, Args, Env and Dir say how a successor is started.
	//
	// Command is the path of its file. "" means the path under which this process
	// was started, resolved then against the directory that was current then and
	// $PATH, so that a replaced file, a symbolic link that was moved and a chdir
	// all lead to the new version.
	Command string
	// Args are its arguments, with the program's name as the first. nil means
	// those of this process.
	Args []string
	// Env is its environment. nil means this process's at that moment. The
	// variables of the protocol are added to it and stale ones taken out.
	Env []string
	// Dir is its working directory. "" means the one in which this process was
	// started, by its path, so that a symbolic link that was moved leads to the new one
	// ($PWD has told of the link). A process that still stands there need not change to
	// it: the directory may have been removed or closed to this user since. If the
	// process has moved away (os.Chdir) and can't go back, the successor starts in the
	// present directory, with a warning in the log.
	Dir string

	// ListenConfig opens the sockets that are not inherited. nil means
	// net.ListenConfig{}.
	ListenConfig *net.ListenConfig
	// Inherit says how the descriptors that were passed to this process are read.
	Inherit InheritOptions
	// Logger gets a line for each step of an upgrade, and says why one that a signal
	// began has failed: nothing else tells. Its handler may block: nothing waits for it
	// but Close, for a second, and of what waits more than 1,024 lines are dropped and
	// counted. nil means silence.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if o.UpgradeSignals == nil {
		o.UpgradeSignals = []os.Signal{syscall.SIGHUP}
	}
	if o.StopSignals == nil {
		o.StopSignals = []os.Signal{syscall.SIGTERM, syscall.SIGINT}
	}
	if err := defaultDuration(&o.ReadyTimeout, time.Minute, "ReadyTimeout"); err != nil {
		return o, err
	}
	if err := defaultDuration(&o.DrainTimeout, 30*time.Second, "DrainTimeout"); err != nil {
		return o, err
	}
	if o.DrainIdle < 0 {
		return o, fmt.Errorf("%w: Options.DrainIdle is %v, must not be negative", ErrBadOption, o.DrainIdle)
	}
	switch {
	case o.Probation == 0:
		o.Probation = time.Second
	case o.Probation < 0:
		o.Probation = 0
	}
	switch {
	case o.MaxDraining == 0:
		o.MaxDraining = 64
	case o.MaxDraining < 0:
		return o, fmt.Errorf("%w: Options.MaxDraining is %d, must not be negative", ErrBadOption, o.MaxDraining)
	}
	if o.ListenConfig == nil {
		o.ListenConfig = &net.ListenConfig{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.PIDFile != "" && !filepath.IsAbs(o.PIDFile) {
		o.PIDFile = filepath.Join(started.dir.Path, o.PIDFile)
	}
	return o, nil
}

func defaultDuration(d *time.Duration, def time.Duration, name string) error {
	if *d < 0 {
		return fmt.Errorf("%w: Options.%s is %v, must not be negative", ErrBadOption, name, *d)
	}
	if *d == 0 {
		*d = def
	}
	return nil
}
