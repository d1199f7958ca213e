package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/notify"
	"golang.org/x/sys/unix"
)

// process is one copy of the program.
type process struct {
	holder     *Holder
	worker     *worker
	pid        int // never used after the process was waited for
	group      int // of processes: it was the pid that was started
	generation int
	began      time.Time

	inbox  *notify.Receiver // where its notifications arrive
	stderr *pump            // nil: it has the holder's own
	timer  *time.Timer      // until it has to be ready, or ended
	check  context.CancelFunc

	ready     bool
	spoke     bool  // it has sent a notification
	proven    bool  // its probation is over
	lastTry   error // to ask it
	hearing   rest  // of the goroutine that hears it
	pinged    bool  // the watchdog
	reloading bool  // it reloads by itself
	warned    bool  // of notifications that don't count
	asked     bool  // to stop
	killed    bool
	ended     bool
	rest      bool // of its group only what it has left behind is there
	deadline  time.Time
	said      string
	file      stamp // that it was started from
}

func (c *process) String() string { return fmt.Sprintf("generation %d (pid %d)", c.generation, c.pid) }

func (c *process) status() *CopyStatus {
	if c == nil {
		return nil
	}
	return &CopyStatus{PID: c.pid, Generation: c.generation, Began: c.began, Ready: c.ready, Status: c.said}
}

// launch starts a copy, the next one if there is a main one.
func (w *worker) launch() {
	h := w.holder
	w.step("start")
	c, err := h.start(w)
	if err != nil {
		w.cause, w.lived = fmt.Errorf("start: %w", err), 0
		h.soon(func() { w.handle(eventGiveUp) })
		return
	}
	if w.main == nil {
		w.main = c
	} else {
		w.next = c
	}
	w.step("ready")
	h.log("started %s", c)
	c.awaitReady(h.opt.ReadyTimeout)
	c.begin()
	c.watchReady()
}

// start starts a process of the program. It returns when the program's file was
// executed.
func (h *Holder) start(w *worker) (c *process, err error) {
	path, err := exec.LookPath(h.opt.Args[0])
	if err != nil {
		var ee *exec.Error
		if errors.As(err, &ee) && !errors.Is(err, exec.ErrDot) {
			err = fmt.Errorf("%s: %w", ee.Name, ee.Err)
			if errors.Is(ee.Err, exec.ErrNotFound) {
				err = fmt.Errorf("%w in PATH: %w", err, os.ErrNotExist)
			}
		}
		return nil, err
	}
	env, err := h.environ(w)
	if err != nil {
		return nil, err
	}
	c = &process{holder: h, hearing: h.newRest(), worker: w, generation: h.generation, began: time.Now()}
	if c.inbox, err = notify.Listen(); err != nil {
		return nil, err
	}
	c.inbox.KeepStored = h.manager.notifier != nil
	stderr := os.Stderr
	if !h.opt.DirectStderr {
		var writing *os.File
		if c.stderr, writing, err = newPump(h); err != nil {
			c.inbox.Close()
			return nil, err
		}
		defer writing.Close()
		stderr = writing
	}
	cmd := &exec.Cmd{
		Path: path, Args: h.opt.Args, Env: append(env, "NOTIFY_SOCKET="+c.inbox.Address()),
		Stdout: os.Stdout, Stderr: stderr,
		// A group of its own: Ctrl-C in a terminal is the holder's, and what a wrapper
		// leaves behind can be found.
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}
	if err := h.spawn(cmd, h.files); err != nil {
		c.inbox.Close()
		c.stderr.close()
		return nil, err
	}
	c.file, _ = stampOf(path)
	c.pid = cmd.Process.Pid
	c.group = c.pid
	_ = cmd.Process.Release() // it is waited for by reap
	return c, nil
}

// spawn starts cmd with files. The goroutine that calls it is the one that waits for
// children, so that none is lost.
func (h *Holder) spawn(cmd *exec.Cmd, files []handoff.File) error {
	if h.mask != nil {
		// A child has the mask of the thread that forks it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		var mine unix.Sigset_t
		if err := unix.PthreadSigmask(unix.SIG_SETMASK, h.mask, &mine); err != nil {
			return os.NewSyscallError("pthread_sigmask", err)
		}
		defer unix.PthreadSigmask(unix.SIG_SETMASK, &mine, nil)
	}
	return handoff.Export(cmd, files...)
}

// environ is what a copy of w gets, but for what Export and the notifications add.
func (h *Holder) environ(w *worker) ([]string, error) {
	env := os.Environ()
	for _, path := range h.opt.EnvFiles {
		entries, err := readEnvFile(path)
		if err != nil {
			return nil, err
		}
		env = append(env, entries...) // the last one counts
	}
	addrs := h.opt.addrs()
	for _, kind := range h.opt.Compat {
		env = append(env, compatEnv(kind, addrs, h.generation, w.index, os.Getpid())...)
	}
	return env, nil
}

// begin has what the copy says heard.
func (c *process) begin() {
	h := c.holder
	h.children[c.pid] = c.exited
	go h.hear(c)
	if c.stderr != nil {
		go c.stderr.run()
	}
}

// exited takes the status of the copy's process, and comes back with it when what the
// process said last has been heard.
func (c *process) exited(status unix.WaitStatus) {
	c.ended = true
	c.holder.ending++
	c.pauseTimers()
	address := c.inbox.Address()
	go func() {
		hearOut(address)
		c.inbox.Close()
		if c.stderr != nil {
			c.stderr.finish()
		}
		c.holder.post(func() { c.gone(status) })
	}()
}

func (c *process) pauseTimers() {
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.check != nil {
		c.check()
		c.check = nil
	}
}

// hearOutWait bounds the wait for what a process has said before it ended. It lies in
// the kernel already.
const hearOutWait = time.Second

func hearOut(address string) {
	n, err := handoff.DialNotifier(address)
	if err != nil {
		return
	}
	defer n.Close()
	ctx, cancel := context.WithTimeout(context.Background(), hearOutWait)
	defer cancel()
	_ = n.Barrier(ctx)
}

// gone is when a copy has ended and has been heard out.
func (c *process) gone(status unix.WaitStatus) {
	h, w := c.holder, c.worker
	h.ending--
	end := c.report()
	end.Status = status
	c.clearGroup()
	if h.stopping && c == w.main {
		h.endedWith(end)
	}
	switch {
	case c == w.main && w.machine.phase != phaseEnded:
		w.main, w.lived, w.cause = nil, time.Since(c.began), end
		if status.Exited() && status.ExitStatus() == 0 {
			w.cause = nil
		}
		w.handle(eventGone)
	case c == w.next && w.machine.phase != phaseEnded:
		w.next, w.cause = nil, end
		w.handle(eventNextGone)
	case c.asked:
		h.log("%s has ended: %s", c, describe(status))
	}
	if w.main == c {
		w.main = nil
	}
	h.settleMemory()
}

// report says what there is to say of an end.
func (c *process) report() *EndError {
	end := &EndError{Copy: c.String(), Ready: c.ready, Said: c.said}
	if c.stderr != nil && !c.proven {
		end.Tail = c.stderr.tail()
	}
	return end
}

// giveUp is when c, which starts, will not become ready.
func (c *process) giveUp(cause error) {
	if c.ready || c.ended {
		return
	}
	w := c.worker
	end := c.report()
	end.Cause = cause
	w.cause, w.lived = end, time.Since(c.began)
	if c == w.main || c == w.next {
		w.handle(eventGiveUp)
	}
}

// endedWith takes the status of a copy that served to the end.
func (h *Holder) endedWith(end *EndError) {
	if h.cause == nil && h.code == 0 {
		h.code = end.ExitCode()
	}
}

// dismiss asks c to stop, and kills it when that takes too long.
func (h *Holder) dismiss(c *process) {
	if c.ended && !c.rest {
		return // gone comes
	}
	c.pauseTimers()
	h.leaving[c] = true
	c.asked = true
	c.signal(h.opt.StopSignal)
	c.killAfter(h.opt.StopTimeout)
}

func (c *process) killAfter(d time.Duration) {
	c.pauseTimers()
	c.deadline = time.Now().Add(d)
	var timer *time.Timer
	timer = c.holder.after(d, func() {
		if c.timer == timer && c.holder.leaving[c] {
			c.holder.log("%s has not ended within %v; killing it", c, d)
			c.kill()
		}
	})
	c.timer = timer
}

// discardTimeout is how long a copy that has failed may take to end by itself: it may
// have accepted connections.
const discardTimeout = 5 * time.Second

// discard ends a copy that has failed. Nobody waits for it.
func (w *worker) discard(c *process) *process {
	if c == nil {
		return nil
	}
	h := w.holder
	if !c.ended {
		h.leaving[c] = true
		c.signal(h.opt.StopSignal)
		c.killAfter(min(discardTimeout, h.opt.StopTimeout))
	}
	return nil
}

// signal is for the process alone, as systemd does it with KillMode=mixed: it knows how
// to end its own children. What it leaves behind is asked when it has ended.
func (c *process) signal(sig syscall.Signal) {
	if c.ended {
		_ = unix.Kill(-c.group, sig)
		return
	}
	_ = unix.Kill(c.pid, sig)
}

// kill is for all of the group.
func (c *process) kill() {
	c.killed = true
	_ = unix.Kill(-c.group, unix.SIGKILL)
	if !c.ended {
		_ = unix.Kill(c.pid, unix.SIGKILL)
	}
}

// clearGroup is when the process has ended: what it has left behind still has the
// sockets, so it is asked to stop too.
func (c *process) clearGroup() {
	h := c.holder
	if unix.Kill(-c.group, 0) != nil {
		delete(h.leaving, c)
		return
	}
	c.rest = true
	if c.killed {
		_ = unix.Kill(-c.group, unix.SIGKILL)
		h.leaving[c] = true
		return
	}
	left := h.opt.StopTimeout
	if h.leaving[c] {
		left = time.Until(c.deadline)
	}
	h.leaving[c] = true
	_ = unix.Kill(-c.group, h.opt.StopSignal)
	c.killAfter(left)
}

// sweep forgets the copies of whose groups nothing is left. The orphans among them are
// this process's children by now, so their ends are heard of.
func (h *Holder) sweep() {
	for c := range h.leaving {
		if c.rest && unix.Kill(-c.group, 0) != nil {
			c.pauseTimers()
			delete(h.leaving, c)
		}
	}
}

// EndError is the end of a copy that was not asked for, or that followed from a failure.
type EndError struct {
	Copy   string // "generation 2 (pid 123)"
	Status unix.WaitStatus
	Ready  bool     // it had been ready
	Said   string   // the last STATUS of sd_notify(3)
	Tail   []string // the last lines of its standard error, where it had not proven itself
	Cause  error    // why it was given up; nil: it has ended by itself
}

// ExitCode is the status as a shell has it.
func (e *EndError) ExitCode() int {
	switch {
	case e.Cause != nil:
		return exitHolderFailed
	case e.Status.Signaled():
		return 128 + int(e.Status.Signal())
	}
	return e.Status.ExitStatus()
}

func (e *EndError) Error() string {
	var text strings.Builder
	text.WriteString(e.Copy)
	switch {
	case e.Cause != nil:
		fmt.Fprintf(&text, " %v", e.Cause)
	case e.Ready:
		fmt.Fprintf(&text, " has ended: %s", describe(e.Status))
	default:
		fmt.Fprintf(&text, " has ended before it was ready: %s", describe(e.Status))
	}
	if e.Said != "" {
		fmt.Fprintf(&text, "; it said %q", e.Said)
	}
	if len(e.Tail) > 0 {
		text.WriteString("; its standard error ended with")
		for _, line := range e.Tail {
			text.WriteString("\n  | " + line)
		}
	}
	return text.String()
}

func (e *EndError) Unwrap() error { return e.Cause }

func describe(status unix.WaitStatus) string {
	if status.Signaled() {
		return fmt.Sprintf("signal %v", unix.SignalName(status.Signal()))
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}

// reap waits for all children that have ended, whoever they were.
func (h *Holder) reap() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			break
		}
		if ended := h.children[pid]; ended != nil {
			delete(h.children, pid)
			ended(status)
		}
	}
	h.sweep()
}
