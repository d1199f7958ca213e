package handoff

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/link"
	"github.com/handoff-dev/handoff/internal/notify"
)

// successor is the next generation as its predecessor sees it. Its fields belong
// to the goroutine of loop, but for what is set before it starts.
type successor struct {
	cmd     *exec.Cmd
	files   []*os.File // to hand over; closed once it has started
	inboxes []*os.File // the hello's; closed once it is sent
	link    *link.Conn
	mover   *mover // sends connections over it
	porter  *mover // sends those with state
	inbox   *notify.Receiver
	hello   link.Hello
	past    func() *link.History // of former upgrades; nil if there are none
	// sibling: it is to be the child of our parent, which is the service manager.
	sibling bool
	pidfd   *os.File // of a sibling
	// likeness: its program is of our module by its build information, and has not got
	// this package inside.
	likeness bool
	// foreign: cmd is the go-between to a program of another toolkit's; goBetween
	// finds that out.
	foreign   bool
	goBetween func(*exec.Cmd) (bool, error)
	relay     *relay // that program, once it is ready
	relayed   *relay // the same before the loop knows of it

	wanted   context.Context // until it is to be ended, if that is before it has started
	giveUp   context.CancelFunc
	launched chan struct{} // closed when it has started, or has failed to
	ended    chan struct{} // closed when it has started and ended

	unchecked bool // the check command has not succeeded yet

	pid    int  // 0 until it has started
	doomed bool // to be ended when it has started
	ending bool // it has been asked to end
	linked bool // it is one of us: it has said hello, or what only we say
	moves  bool // it takes connections
	// stateful: it takes state, and connections with state.
	stateful bool
	recalled chan struct{} // closed when the last words count for nothing; nil before them
	ready    bool
	// readiness is how it came to be ready, or why not yet.
	readiness readiness
	// leaving: it has said that it stops, so it needs no signal, which would have it
	// hurry.
	leaving  bool
	heir     bool          // this generation is to start another one should it die
	newest   int           // the generation of who said so, or its own
	patience time.Duration // how long it may take to end by itself when it has failed
	status   string
	errno    error
	output   errorMark // where it began to write
}

// grace is how long a successor that has failed may take to end by itself.
const grace = 5 * time.Second

// start begins an upgrade. All that takes time happens outside of the loop.
func (u *Upgrader) start() {
	u.log.Info("starting a successor", "command", u.command().Path)
	u.tellManager(Reloading, Status(fmt.Sprintf("Upgrading to generation %d", u.generation+1)))
	u.appointHeir() // nobody: should this process die, the successor goes on by itself
	s, err := u.newSuccessor(u.command(), link.Hello{State: true}, u.exports)
	u.follow(s, err)
}

// follow starts what was prepared, unless that has failed.
func (u *Upgrader) follow(s *successor, err error) {
	u.successor = s
	if err != nil {
		u.handle(occurrence{event: eventSuccessorGone, cause: err, from: s})
		return
	}
	u.awaitReady(u.opts.ReadyTimeout)
	go u.watch(s)
}

// newSuccessor prepares everything but the process. It returns a successor on
// errors too, for the report. The hello is completed.
func (u *Upgrader) newSuccessor(cmd *exec.Cmd, hello link.Hello, exports func() ([]*os.File, []origin, error)) (*successor, error) {
	u.warnOfDirectory()
	s := &successor{cmd: cmd, hello: hello, sibling: u.manager.notifier != nil, launched: make(chan struct{}), ended: make(chan struct{}), patience: grace, newest: u.generation + 1}
	s.unchecked = u.opts.Preflight != nil && hello.Next == 0 // this very version has passed before
	s.wanted, s.giveUp = context.WithCancel(context.Background())
	if err := u.refusal(); err != nil {
		return s, err
	}
	if s.cmd.Path == "" {
		return s, errors.New("handoff: this process's own path is unknown; set Options.Command")
	}
	var err error
	s.goBetween = u.goBetween
	s.hello.Version, s.hello.PID, s.hello.Generation, s.hello.Manager = link.Version, os.Getpid(), u.generation, u.manager.address
	s.hello.TicketKeys = u.tickets.export()
	if s.files, s.hello.Files, err = exports(); err != nil {
		return s, err
	}
	if s.inbox, err = notify.Listen(); err != nil {
		closeAll(s.files)
		return s, err
	}
	s.inboxes, s.hello.Inboxes = u.exportOutlets()
	if d, o := u.exportControl(); d != nil {
		s.inboxes, s.hello.Control = append(s.inboxes, d), o
	}
	s.past = u.past
	return s, nil
}

func (u *Upgrader) command() *exec.Cmd {
	cmd := &exec.Cmd{
		Path:   u.opts.Command,
		Args:   u.opts.Args,
		Env:    u.opts.Env,
		Dir:    u.opts.Dir,
		Stdin:  os.Stdin,
		Stdout: os.Stdout,
		Stderr: os.Stderr,
	}
	if cmd.Path == "" {
		cmd.Path = u.program
	}
	if cmd.Path == "" {
		cmd.Path = started.path
	}
	if cmd.Args == nil {
		cmd.Args = started.args
	}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	if cmd.Dir == "" {
		// Without a way back the present one has to do; see warnOfDirectory.
		cmd.Dir, _ = started.dir.Next()
	}
	if u.opts.Env == nil && filepath.IsAbs(cmd.Dir) {
		cmd.Env = append(withoutVariable(cmd.Env, "PWD"), "PWD="+cmd.Dir) // as os/exec does
	}
	return cmd
}

// warnOfDirectory tells of a successor that starts elsewhere than it should.
func (u *Upgrader) warnOfDirectory() {
	if u.opts.Dir != "" {
		return
	}
	if _, err := started.dir.Next(); err != nil {
		u.log.Warn("the directory of the start can't be entered any more, so the successor starts in the present one: set Options.Dir", "directory", started.dir.Path, "error", err)
	}
}

// watch starts s and follows it to its end.
func (u *Upgrader) watch(s *successor) {
	err := u.preflight(s)
	if err == nil {
		s.output = noteErrors()
		err = s.launch()
	} else {
		closeAll(s.inboxes)
	}
	close(s.launched)
	closeAll(s.files)
	if err != nil {
		s.inbox.Close()
		u.post(occurrence{event: eventSuccessorGone, cause: err, from: s})
		return
	}
	pid := s.cmd.Process.Pid // Release takes the number away
	u.post(occurrence{run: func() {
		s.pid = pid
		u.step("ready")
		if s.doomed {
			s.terminate()
		}
	}})
	go u.hear(s, pid)
	followed := make(chan struct{})
	go func() {
		u.followSuccessor(s)
		close(followed)
	}()
	err = s.wait()
	if s.foreign {
		err = u.followRelay(s, followed, err)
	}
	close(s.ended)
	hearOut(s.inbox.Address())
	s.inbox.Close()
	u.log.Debug("successor's process has ended", "successor", pid, "how", err)
	u.post(occurrence{event: eventSuccessorGone, cause: err, from: s})
}

// hear follows what the successor tells of itself by sd_notify(3). Of what doesn't
// count, the first is worth a warning; any process can send thousands.
func (u *Upgrader) hear(s *successor, pid int) {
	ignored := slog.LevelWarn
	kin, asked := false, false
	for {
		m, err := s.inbox.Receive()
		if err != nil {
			return // closed
		}
		if m.Fault != nil {
			u.log.Log(context.Background(), ignored, "notification", "error", m.Fault)
			ignored = slog.LevelDebug
			continue
		}
		if !m.From(pid) {
			u.log.Log(context.Background(), ignored, "ignoring a notification of a process that is not the successor", "sender", m.PID, "uid", m.UID)
			ignored = slog.LevelDebug
			continue
		}
		if m.Ready() && !asked && !proves(m) {
			kin, asked = !s.likeness && runsKin(pid), true
		}
		u.post(occurrence{run: func() {
			s.readiness.kin = kin
			u.noted(s, m)
		}})
	}
}

// hearOut waits until what a process that has ended has said last is heard: why it
// ended, most often.
func hearOut(address string) {
	n, err := DialNotifier(address)
	if err != nil {
		return
	}
	defer n.Close()
	ctx, cancel := context.WithTimeout(context.Background(), linkWait)
	defer cancel()
	_ = n.Barrier(ctx)
}

// noted takes one notification of the successor.
func (u *Upgrader) noted(s *successor, m notify.Message) {
	if s != u.successor {
		return
	}
	if status := m.Status(); status != "" {
		s.status = status
	}
	if errno := m.Errno(); errno != 0 {
		s.errno = errno
	}
	starting := u.awaitsSuccessor()
	if d := m.ExtendTimeout(); d > 0 && starting {
		u.awaitReady(d)
	}
	// Once it is the main generation, it speaks for itself.
	if u.machine.phase != phaseDraining {
		var states []State
		for _, line := range m.Forwardable() {
			if !strings.HasPrefix(line, confidential) {
				states = append(states, State(line))
			}
		}
		if len(states) > 0 {
			u.tellManager(states...)
		}
	}
	switch {
	case m.Ready() && starting:
		u.saidReady(s, m)
	case m.Stopping() && u.machine.phase != phaseDraining:
		s.leaving = true
		if err := s.link.Send(linkWait, link.KindHurry, struct{}{}); err != nil {
			u.log.Debug("answering a successor that stops", "error", err)
		}
		s.patience = u.opts.DrainTimeout + grace
		u.handle(occurrence{event: eventSuccessorFailed, cause: ErrStops, from: s})
	case m.Stopping(): // this has crossed the commit
		u.handle(occurrence{event: eventReleased})
	}
}

// confidential begins what generations say to each other alone.
const confidential = "X_HANDOFF_"

// asMain are the states by which the service manager takes s for the main process.
// The number of its pidfd is for managers that would see a pid used again.
func (s *successor) asMain() []State {
	states := []State{MainPID(s.pid)}
	pidfd := s.pidfd
	if s.relay != nil {
		pidfd = s.relay.pidfd
	}
	if pidfd == nil {
		return states
	}
	raw, err := pidfd.SyscallConn()
	if err != nil {
		return states
	}
	_ = raw.Control(func(fd uintptr) { // it is closed once the process has ended
		if id, err := PIDFDID(int(fd)); err == nil {
			states = append(states, MainPIDFDID(id))
		}
	})
	return states
}

// terminate ends the process. It may end by itself for a while, for it may have
// become ready, and have connections, in this instant. That it has ended is an event
// of its own.
func (s *successor) terminate() {
	if s.pid == 0 {
		s.doomed = true
		if s.giveUp != nil {
			s.giveUp()
		}
		return
	}
	s.ending = true
	process := s.process()
	if s.leaving || process.Signal(syscall.SIGTERM) == nil {
		time.AfterFunc(s.patience, func() { _ = process.Kill() })
		return
	}
	_ = process.Kill()
}

func (s *successor) hasEnded() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// endsWithin tells whether the process has ended, or does so within d.
func (s *successor) endsWithin(d time.Duration) bool {
	select {
	case <-s.ended:
		return true
	case <-time.After(d):
		return false
	}
}

// release is when this generation ends. A successor that was to be ended while
// it was being started is ended now; else it would take over a service that has
// been stopped.
func (s *successor) release() {
	if s.inbox == nil {
		return // nothing was started
	}
	s.inbox.Close()
	select {
	case <-s.launched:
	case <-time.After(grace):
		return // a stage that was stopped; it finds its link closed
	}
	if s.cmd.Process == nil {
		return
	}
	if s.doomed && !s.ending {
		s.pid = s.cmd.Process.Pid
		s.terminate()
	}
	if s.ending {
		select {
		case <-s.ended:
		case <-time.After(s.patience):
			_ = s.process().Kill()
		}
	}
	s.link.Close()
}

// dismiss asks the process to end in its own time.
func (s *successor) dismiss() {
	_ = s.process().Signal(syscall.SIGTERM)
}

// explain makes the error that Upgrade returns.
func (s *successor) explain(cause error) error {
	e := &UpgradeError{Phase: "start", PID: s.pid, Status: s.status, Errno: s.errno, Err: cause}
	if s.pid != 0 {
		e.Output = s.output.read()
	}
	var check *preflightFault
	switch {
	case errors.As(cause, &check):
		e.Phase, e.Output, e.Err = "preflight", check.output, check.err
	case s.unchecked:
		e.Phase = "preflight"
	case isStateFault(cause):
		e.Phase = "state"
	case s.ready:
		e.Phase = "probation"
	case s.pid != 0:
		e.Phase = "ready"
	}
	return e
}
