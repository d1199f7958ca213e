package flip

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/handoff/internal/foreign"
)

// DefaultUpgradeTimeout is what a zero Options.UpgradeTimeout means.
const DefaultUpgradeTimeout = time.Minute

// ErrNotSupported is [handoff.ErrUnsupported]. New doesn't return it: where there are
// no upgrades, listening still works, and Upgrade says it.
var ErrNotSupported = handoff.ErrUnsupported

// ErrOnlyOne is what New returns when there is an Upgrader already.
var ErrOnlyOne = errors.New("flip: only a single Upgrader is allowed")

// Options are tableflip's Options and, in Handoff and IsTableflip, what that has no word
// for. The zero value works.
type Options struct {
	// UpgradeTimeout is how long a successor may take to be ready; 0 or less means
	// DefaultUpgradeTimeout. It is handoff's ReadyTimeout.
	UpgradeTimeout time.Duration
	// PIDFile is a file that names the pid of the process that is ready, see
	// handoff's Options.PIDFile. A relative path is taken from the directory in which
	// the process was started.
	PIDFile string
	// ListenConfig opens the sockets that are not inherited. nil means
	// net.ListenConfig{}.
	ListenConfig *net.ListenConfig

	// Handoff has all other settings. Where the fields above are set, they count. No
	// signal does anything, whatever it says, unless its UpgradeSignals or StopSignals is
	// not empty: programs written for tableflip have their own handlers.
	Handoff handoff.Options
	// IsTableflip tells whether the file of a successor is a tableflip server, see
	// [NewHandoff]. nil means the function IsTableflip.
	IsTableflip func(path string) bool
}

// Upgrader has tableflip's methods on a [handoff.Upgrader].
type Upgrader struct {
	*Fds
	up   *handoff.Upgrader
	stop sync.Once
}

var single struct {
	sync.Mutex
	made bool
}

// New creates the process's Upgrader, with what the predecessor has passed: a
// tableflip server, or one that uses this package. Only the first call succeeds;
// later ones return [ErrOnlyOne].
func New(opts Options) (*Upgrader, error) {
	single.Lock()
	defer single.Unlock()
	if single.made {
		return nil, ErrOnlyOne
	}
	up, err := NewHandoff(opts.handoff(), opts.IsTableflip)
	if err != nil {
		return nil, err
	}
	single.made = true
	u := &Upgrader{Fds: newFds(up), up: up}
	go func() {
		<-up.Draining()
		u.Fds.release()
	}()
	return u, nil
}

func (o Options) handoff() handoff.Options {
	h := o.Handoff
	if o.UpgradeTimeout > 0 {
		h.ReadyTimeout = o.UpgradeTimeout
	}
	if o.PIDFile != "" {
		h.PIDFile = o.PIDFile
	}
	if o.ListenConfig != nil {
		h.ListenConfig = o.ListenConfig
	}
	if h.UpgradeSignals == nil {
		h.UpgradeSignals = []os.Signal{}
	}
	if h.StopSignals == nil {
		h.StopSignals = []os.Signal{}
	}
	return h
}

// Handoff returns the Upgrader underneath, to move on piece by piece.
func (u *Upgrader) Handoff() *handoff.Upgrader { return u.up }

// Ready says that this process serves; see [handoff.Upgrader.Ready]. What was inherited
// and nobody has asked for is closed.
func (u *Upgrader) Ready() error { return u.up.Ready() }

// Exit returns a channel that is closed when the process should let its connections
// end and exit: its successor has taken over, or Stop was called.
func (u *Upgrader) Exit() <-chan struct{} { return u.up.Draining() }

// Stop prevents further upgrades, and closes the channel of Exit. If there was no
// successful upgrade, the service ends with this process, and the paths of its unix
// sockets are removed. After an upgrade it does nothing.
func (u *Upgrader) Stop() {
	u.stop.Do(func() {
		select {
		case <-u.up.Draining():
			// To stop once more would mean to hurry.
		default:
			u.up.Stop()
		}
	})
}

// Upgrade starts a successor and returns nil when that has taken over. The errors are
// those of [handoff.Upgrader.Upgrade].
func (u *Upgrader) Upgrade() error { return u.up.Upgrade(context.Background()) }

// HasParent tells whether this process was started by an older generation.
func (u *Upgrader) HasParent() bool { return u.up.Generation() > 1 }

// WaitForParent waits until the process that has started this one has ended: at most
// until ctx ends, whose error it returns then, or until this process has been relieved
// itself: [handoff.ErrHandedOver].
func (u *Upgrader) WaitForParent(ctx context.Context) error {
	parent := foreign.Parent(u.up)
	select {
	case <-parent:
		return nil
	default:
	}
	select {
	case <-parent:
		return nil
	case <-u.up.Draining():
		return handoff.ErrHandedOver
	case <-ctx.Done():
		return ctx.Err()
	}
}
