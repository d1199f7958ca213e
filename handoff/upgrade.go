package handoff

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"sync"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/foreign"
	"github.com/handoff-dev/handoff/internal/latelog"
)

// Upgrader leads one generation of a service through its life: it inherits,
// listens, gets ready, and hands over to a successor or stops. A process makes
// one with [New] and ends it with [Upgrader.Run] or [Upgrader.Close]. Its methods
// may be called by any goroutine.
type Upgrader struct {
	opts       Options
	log        *slog.Logger
	logQueue   *latelog.Queue // what log writes by, so that nobody waits for its reader
	generation int
	program    string // the path that leads to the next version; "" if our start tells it

	inherited *Set
	origins   []origin // of what is in inherited, by index, as the predecessor told

	// Owned by the goroutine of loop.
	machine   machine
	peer      foreign.Peer
	successor *successor
	answer    chan<- error // of the call of Upgrade in progress
	clock     *time.Timer
	hastened  bool // by a stop signal, see hasten
	wish      wish
	family    family
	manager   manager
	spare     spare

	events   chan occurrence
	signals  chan os.Signal
	done     chan struct{} // closed by Close
	looped   chan struct{} // closed when loop has returned
	orphaned chan struct{} // closed when the process that has started this one has ended
	draining chan struct{} // closed when the connections are to end
	hurry    chan struct{} // closed when they are to end soon
	cut      chan struct{} // closed when they are to end now
	over     sync.Once

	watchStored sync.Once // starts dropClosed

	tickets tickets

	mu       sync.Mutex
	shared   []*shared
	gates    gateState // of the sockets
	ended    error     // why there can be no more of them
	toldEnds int       // sockets of which a read has ended for that reason
	main     bool      // this is the main generation
	// ways to older generations, by the inherited socket's index; of those that were
	// not taken yet
	outlets map[int][]*outlet
	routed  []*shared // the sockets with a router, also when they have ended

	lobbies  []*listener           // at which connections of older generations come in
	mover    *mover                // to the successor that has taken over
	connSets map[*connSet]struct{} // of the servers that run
	porter   *mover                // as mover, for connections with state

	states   states      // what the program gives and takes
	settling []*settling // belongs to the goroutine of loop

	control controlSocket // belongs to the goroutine of loop, but for its server and feed
	history history

	checking sync.Mutex // held by a call of Preflight
}

// occurrence is an event on its way to the loop.
type occurrence struct {
	event  event
	cause  error
	from   *successor   // whose event it is, if a successor's
	answer chan<- error // where somebody waits for the outcome
	run    func()       // in place of an event: something for the loop to do
}

// New makes this process a generation: it reads what it has inherited (see
// [Inherit]), removes the variables of the protocol from the environment, and
// begins to listen to signals. A malformed environment is an error that names
// the variable; so are options that can't be right.
func New(opts Options) (*Upgrader, error) { return newWithPeer(opts, foreign.Peer{}) }

func newWithPeer(opts Options, peer foreign.Peer) (*Upgrader, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	signals := make(chan os.Signal, 16)
	heeded := heed(signals, append(slices.Clone(opts.UpgradeSignals), opts.StopSignals...))
	u, err := newHeeding(opts, peer, signals)
	<-heeded
	if err != nil {
		signal.Stop(signals)
		return nil, err
	}
	go u.loop()
	return u, nil
}

// heed begins to listen to signals, and closes what it returns when it does. It takes
// threads to be started, of which a caller can make use on another CPU.
func heed(c chan<- os.Signal, which []os.Signal) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if len(which) > 0 { // none are all
			signal.Notify(c, which...)
		}
	}()
	return done
}

// newHeeding is New with the channel of the signals, and without the loop.
func newHeeding(opts Options, peer foreign.Peer, signals chan os.Signal) (*Upgrader, error) {
	set, origins, err := inheritFrom(peer.Predecessor, opts.Inherit)
	if err != nil {
		return nil, err
	}
	queue := &latelog.Queue{Dropped: func(n int) {
		opts.Logger.Warn("log entries are lost: what was before them took too long", "entries", n)
	}}
	log := opts.Logger
	if log.Handler() != slog.DiscardHandler {
		log = slog.New(latelog.Handler(queue, log.Handler()))
	}
	u := &Upgrader{
		opts:       opts,
		log:        log,
		logQueue:   queue,
		generation: 1,
		peer:       peer,
		inherited:  set,
		origins:    origins,
		events:     make(chan occurrence),
		signals:    signals,
		done:       make(chan struct{}),
		looped:     make(chan struct{}),
		orphaned:   make(chan struct{}),
		draining:   make(chan struct{}),
		hurry:      make(chan struct{}),
		cut:        make(chan struct{}),
		tickets:    tickets{now: time.Now},
	}
	if err := u.meetPredecessor(); err != nil {
		set.Close()
		return nil, err
	}
	u.log = u.log.With("generation", u.generation)
	if err := u.openControl(); err != nil {
		u.abandonNew()
		return nil, err
	}
	if u.machine.awaiting || peer.Predecessor != nil {
		u.gates = gatePaused
	}
	return u, nil
}

// Generation returns 1 for a process that was started anew, 2 for its successor,
// and so on.
func (u *Upgrader) Generation() int { return u.generation }

// Inherited returns what was passed to this process and has not been taken yet.
// What is still in it at [Upgrader.Ready] is closed. What is taken from it is
// handed on only if it goes to [Upgrader.Keep].
func (u *Upgrader) Inherited() *Set { return u.inherited }

// Ready says that the service is ready: its sockets accept, the predecessor (or
// the service manager, by sd_notify(3)) is told, and inherited descriptors that
// nobody took are closed, with a warning that names them. The PID file is
// written now, or when the predecessor commits to this generation.
//
// An error means that the service can't go on: the PID file can't be written,
// or it is stopping ([ErrStopping]). Another call does nothing. [Upgrader.Run]
// calls it.
func (u *Upgrader) Ready() error { return u.ask(occurrence{event: eventReady}) }

// Upgrade starts a successor and hands over to it. It returns nil when the
// successor has taken over for good. Then this generation has to let its
// connections end and exit; Run sees to it, others watch [Upgrader.Draining].
//
// Otherwise nothing has changed: this generation serves as before, the successor
// is gone, and the error is an [*UpgradeError] with the phase and the cause. At
// the end of ctx the upgrade is given up. [ErrNotReady], [ErrUpgradeInProgress],
// [ErrHandedOver], [ErrStopping], [ErrUnsupported] and [ErrWouldEndService] tell of
// a state in which there can be none.
func (u *Upgrader) Upgrade(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	answer := make(chan error, 1)
	if !u.post(occurrence{event: eventUpgrade, answer: answer}) {
		return ErrStopping
	}
	giveUp := context.AfterFunc(ctx, func() {
		u.post(occurrence{run: func() {
			if u.answer == answer {
				u.handle(occurrence{event: eventSuccessorFailed, cause: context.Cause(ctx)})
			}
		}})
	})
	defer giveUp()
	select {
	case err := <-answer:
		return err
	case <-u.done:
	}
	select {
	case err := <-answer: // it was there before the end
		return err
	default:
		return ErrStopping
	}
}

// Stop stops the service, or makes a generation hurry that is draining or
// stopping already. A signal, the end of Run's context and a call of Stop within half a
// second are one wish; a second call is a second one. It returns at once; [Upgrader.Draining] tells when the
// connections are to end.
func (u *Upgrader) Stop() { u.post(occurrence{run: func() { u.wishStop(true) }}) }

// Draining returns a channel that is closed when this generation accepts no more,
// because its successor has taken over or because it stops: its connections have
// to end, and the process then has to exit.
func (u *Upgrader) Draining() <-chan struct{} { return u.draining }

// Close ends the generation: sockets that are still open are closed, the PID file
// is removed if the service ends with it, the predecessor and the successor take
// its end of the link for its end. Call it last, just before the process exits.
func (u *Upgrader) Close() error {
	u.over.Do(func() {
		signal.Stop(u.signals)
		close(u.done)
		<-u.looped
		u.finish()
		u.logQueue.Flush(flushWait)
	})
	return nil
}

// flushWait is how long Close waits for a Logger that writes slowly, or not at all.
const flushWait = time.Second

// post gives something to the loop, unless the loop is over.
func (u *Upgrader) post(o occurrence) bool {
	select {
	case u.events <- o:
		return true
	case <-u.done:
		return false
	}
}

// ask posts something and waits for the answer.
func (u *Upgrader) ask(o occurrence) error {
	answer := make(chan error, 1)
	o.answer = answer
	if !u.post(o) {
		return ErrStopping
	}
	select {
	case err := <-answer:
		return err
	case <-u.done:
		return ErrStopping
	}
}

// UpgradeError says why an upgrade failed. The generation that tried it serves
// as before.
type UpgradeError struct {
	// Phase is how far the upgrade came: "preflight" (the check command failed), "start",
	// "ready" (the successor ran, and was waited for), "probation", or "state" (some could
	// not be handed over).
	Phase string
	// PID is the successor's process, 0 if there was none.
	PID int
	// Status and Errno are the last STATUS= and ERRNO= that the successor sent.
	Status string
	Errno  error
	// Output is the end of what the check command has printed, or of what was written to
	// standard error since the successor was started, also by this process: 4 KiB at most.
	// The latter is known only on Linux and where standard error is a regular file; else it
	// is where it always is: in the journal, on the terminal, …
	Output string
	// Err is the cause: an [*fs.PathError] if the file can't be executed, an
	// [*exec.ExitError] or [ErrExited] if the process ended, [ErrTimeout],
	// [ErrStops], the cause of the end of Upgrade's context, …
	Err error
}

func (e *UpgradeError) Error() string {
	text := "handoff: the upgrade failed (" + e.Phase + "): " + e.Err.Error()
	if e.Status != "" {
		text += `; its last status was "` + e.Status + `"`
	}
	if e.Errno != nil {
		text += "; it reported: " + e.Errno.Error()
	}
	return text
}

func (e *UpgradeError) Unwrap() error { return e.Err }

// Causes of an [UpgradeError].
var (
	// ErrTimeout: the successor wasn't ready within Options.ReadyTimeout.
	ErrTimeout = errors.New("the successor was not ready in time")
	// ErrExited: the successor ended with status 0, or it was the service manager's
	// child (as it is under systemd) and the text says how it ended.
	ErrExited = errors.New("the successor exited")
	// ErrStops: the successor said STOPPING=1 (sd_notify(3)) before this generation
	// had handed over, as a generation does that gets a stop signal.
	ErrStops = errors.New("the successor stops")
)
