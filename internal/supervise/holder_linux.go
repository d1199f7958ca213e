package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/supervise/internal/early"
	"golang.org/x/sys/unix"
)

// The exit codes of a holder that has none of the program's to end with, as of env(1)
// and timeout(1).
const (
	exitHolderFailed  = 125
	exitNotExecutable = 126
	exitNotFound      = 127
)

// A Holder keeps sockets for a program, see the package's documentation. Its fields
// belong to the goroutine of Run.
type Holder struct {
	opt      Options
	files    []handoff.File
	events   chan func()
	done     chan struct{} // closed when Run has returned
	signals  chan os.Signal
	later    []func() // to be done after what is being done
	children map[int]func(unix.WaitStatus)

	workers    []*worker
	leaving    map[*process]bool // asked to stop, or killed
	paths      map[string]fileID
	ending     int          // copies that have ended and are being heard out
	commands   map[int]bool // other children that were started
	generation int
	speaks     bool // a copy has said READY=1
	believed   bool // one was taken as ready without a word
	roll       *roll
	rollAgain  bool             // SIGHUP came while a roll was under way
	reexec     bool             // SIGUSR2 likewise
	checking   bool             // the new holder is asked whether it can take over
	checked    bool             // it can
	past       []syscall.Signal // that the program before did not get to

	control  *controlSocket // nil: there is none now
	closing  bool           // it is being closed for the holder's own upgrade
	waiting  chan outcome   // who is to be told of the upgrade that is under way
	upgrades []handoff.UpgradeRecord
	quiet    *time.Timer // until nobody has asked for a while

	manager  *manager
	began    time.Time
	reexecs  int
	stopping bool
	asked    int // how often it was told to stop
	code     int // to exit with
	cause    error
	lastErr  string
	finished bool
	mask     *unix.Sigset_t // the copies' signal mask, where it isn't this process's own
	output   sync.Mutex     // one pump writes at a time
	gate     sync.RWMutex   // see rest
}

// New makes a Holder of opt, and begins nothing. An error is about opt.
//
// Where this process is a holder that has upgraded itself, see [Resumed], Options.Sockets
// are left out, and come with what the holder was before.
func New(opt Options) (*Holder, error) {
	h := &Holder{
		events: make(chan func()), done: make(chan struct{}), signals: make(chan os.Signal, 64), children: map[int]func(unix.WaitStatus){},
		leaving: map[*process]bool{}, commands: map[int]bool{}, generation: 1, began: time.Now(),
	}
	past, err := takeState()
	if err != nil {
		return nil, err
	}
	if past != nil {
		if opt.Sockets, err = past.sockets(); err != nil {
			return nil, err
		}
	}
	if h.opt, err = opt.withDefaults(); err != nil {
		return nil, err
	}
	for _, s := range h.opt.Sockets {
		h.files = append(h.files, s.File)
	}
	for i := range h.opt.Workers {
		h.addWorker(i)
	}
	if past != nil {
		return h, h.resume(past)
	}
	h.paths = map[string]fileID{}
	for _, s := range h.opt.Sockets {
		if s.Path != "" {
			h.paths[s.Path] = fileAt(s.Path)
		}
	}
	return h, nil
}

// Run starts the program and holds the sockets until the program has ended for good, or
// ctx has. It returns the exit status for this process: the program's own, 128 and the
// signal's number if one ended it; 127 and 126 if it can't be executed, and 125 if it
// wasn't ready in time. An error says why the holder gave up, where the program's status
// doesn't say it all.
//
// It takes over the signals of this process, and all its children: nobody else may wait
// for one. In package os/exec only what needs no Wait can be used meanwhile.
func (h *Holder) Run(ctx context.Context) (int, error) {
	// Little is kept, so little is saved by collecting garbage late.
	debug.SetGCPercent(25)
	defer close(h.done)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		h.log("descendants whose parent has ended can't be adopted: %v", err)
	}
	signal.Notify(h.signals, allSignals()...)
	signal.Stop(early.Signals) // which has what came before; what came meanwhile, both have
	for len(early.Signals) > 0 {
		h.past = append(h.past, (<-early.Signals).(syscall.Signal))
	}
	defer signal.Stop(h.signals)
	if err := h.meetManager(); err != nil {
		return exitHolderFailed, err
	}
	if err := h.openControl(); err != nil {
		if !h.opt.ControlOptional && h.reexecs == 0 {
			h.removePaths()
			return exitHolderFailed, err
		}
		h.log("there is no control socket: %v", err)
	}
	h.do(func() {
		for _, w := range h.workers {
			if w.machine.phase == phaseIdle {
				w.handle(eventStart)
			} else {
				w.resumed()
			}
		}
		h.reap()
	})
	h.settleMemory()
	done := ctx.Done()
	for !h.finished {
		select {
		case f := <-h.events:
			h.do(f)
		case sig := <-h.signals:
			h.do(func() { h.signalled(sig.(syscall.Signal)) })
		case <-done:
			done = nil
			h.do(func() { h.stop() })
		}
	}
	h.manager.close()
	h.endControl()
	h.removePaths()
	return h.code, h.cause
}

// do calls f, and then what follows from it.
func (h *Holder) do(f func()) {
	f()
	for len(h.later) > 0 {
		f := h.later[0]
		h.later = h.later[1:]
		f()
	}
	h.later = nil
	h.proceed()
}

// post has the goroutine of Run call f. It is for others.
func (h *Holder) post(f func()) {
	select {
	case h.events <- f:
	case <-h.done:
	}
}

// after calls f after d unless the timer is stopped; f has to see for itself whether
// it still matters.
func (h *Holder) after(d time.Duration, f func()) *time.Timer {
	return time.AfterFunc(max(d, 0), func() { h.post(f) })
}

// soon calls f when what is being done is done.
func (h *Holder) soon(f func()) { h.later = append(h.later, f) }

func (h *Holder) log(format string, args ...any) { h.opt.Log(fmt.Sprintf(format, args...)) }

// fail ends the holder for a reason.
func (h *Holder) fail(cause error) {
	h.cause = cause
	var end *EndError
	h.code = exitHolderFailed
	switch {
	case errors.As(cause, &end):
		h.code = end.ExitCode()
	case errors.Is(cause, os.ErrNotExist):
		h.code = exitNotFound
	case errors.Is(cause, os.ErrPermission), errors.Is(cause, unix.ENOEXEC):
		h.code = exitNotExecutable
	}
	h.stop()
}

// stop ends the holder when all copies have ended.
func (h *Holder) stop() {
	if h.stopping {
		return
	}
	h.stopping = true
	h.manager.stopping()
	h.tell(handoff.Event{Type: "stopping"})
	h.answerWaiting(nil, errStopping, errStopping)
	for _, w := range h.workers {
		w.handle(eventStop)
	}
	for pid := range h.commands {
		_ = unix.Kill(-pid, unix.SIGKILL)
	}
}

// proceed does what may be possible now.
func (h *Holder) proceed() {
	switch {
	case h.stopping:
		h.finished = len(h.leaving) == 0 && h.ending == 0 && len(h.commands) == 0
	case h.rollAgain && h.roll == nil: // first, for it would be forgotten
		h.rollAgain = false
		h.beginRoll()
	case h.reexec && h.roll == nil && h.steady():
		h.reexec = false
		h.becomeNew()
	}
}

// settleMemory gives back what starting a copy needed.
func (h *Holder) settleMemory() {
	debug.FreeOSMemory()
	forgetText()
}

// removePaths removes the files of the unix sockets that were made for this holder.
func (h *Holder) removePaths() {
	for _, s := range h.opt.Sockets {
		// What lies there now may be another's.
		if made, ok := h.paths[s.Path]; !ok || fileAt(s.Path) != made {
			continue
		}
		if err := os.Remove(s.Path); err != nil {
			h.log("remove the socket's file: %v", err)
		}
	}
}

// Status tells how things are. It may be called by any goroutine while Run runs.
func (h *Holder) Status() Status {
	reply := make(chan Status, 1)
	h.post(func() { reply <- h.status() })
	select {
	case s := <-reply:
		return s
	case <-h.done:
		return Status{}
	}
}

func (h *Holder) status() Status {
	s := Status{
		PID: os.Getpid(), Generation: h.generation, Began: h.began, Reexecs: h.reexecs,
		Upgrading: h.roll != nil, Stopping: h.stopping, LastError: h.lastErr,
		Sockets: []SocketStatus{}, Workers: []WorkerStatus{}, Leaving: []CopyStatus{},
	}
	for _, socket := range h.opt.Sockets {
		status := SocketStatus{Name: socket.Name}
		if socket.Addr != nil {
			status.Network, status.Address = socket.Addr.Network(), socket.Addr.String()
		}
		s.Sockets = append(s.Sockets, status)
	}
	for _, w := range h.workers {
		s.Workers = append(s.Workers, WorkerStatus{Phase: w.machine.phase.String(), Crashes: w.backoff.crashes, Main: w.main.status(), Next: w.next.status()})
	}
	for c := range h.leaving {
		s.Leaving = append(s.Leaving, *c.status())
	}
	return s
}
