package supervise

import (
	"context"
	"fmt"
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

// begin has what the copy says heard.
func (c *process) begin() {
	h := c.holder
	h.children[c.pid] = c.exited
	go h.hear(c, c.pid)
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
