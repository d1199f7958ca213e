package supervise

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

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
	c.holder.after(killWait, c.abandon)
}

// killWait is how long the end of what was killed is waited for. A process that waits for a
// disk which doesn't answer does not end, and one whose parent doesn't wait for it stays in
// its group.
const killWait = 5 * time.Second

// abandon lets go of a copy that was killed and is still there.
func (c *process) abandon() {
	h := c.holder
	if h.sweep(); !h.leaving[c] {
		return
	}
	h.log("%s, or what it has left behind, was killed and is still there; going on without", c)
	c.pauseTimers()
	delete(h.leaving, c)
	if h.stopping && !c.ended && h.cause == nil && h.code == 0 {
		h.code = 128 + int(unix.SIGKILL)
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
