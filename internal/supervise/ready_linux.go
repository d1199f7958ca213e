package supervise

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNotReady is wrapped by the error about a copy that was not ready in time.
var ErrNotReady = errors.New("was not ready in time")

// awaitReady gives c so much time from now on to become ready.
func (c *process) awaitReady(d time.Duration) {
	if c.timer != nil {
		c.timer.Stop()
	}
	var timer *time.Timer
	timer = c.holder.after(d, func() {
		if c.timer == timer {
			c.giveUp(fmt.Errorf("%w, within %v%s", ErrNotReady, time.Since(c.began).Round(time.Millisecond), c.missing()))
		}
	})
	c.timer = timer
}

// missing says what was waited for.
func (c *process) missing() string {
	switch c.holder.opt.Ready.kind {
	case readyAuto:
		return ": it has not said READY=1 by sd_notify, as one before it has; a program that does not wants --ready after=1s"
	case readyNotify:
		return ": it has not said READY=1 by sd_notify"
	}
	if c.lastTry != nil {
		return ": " + c.lastTry.Error()
	}
	return ""
}

// isReady is when c is known to be ready.
func (c *process) isReady() {
	w := c.worker
	if c.ready || c.ended || c.asked || c != w.main && c != w.next {
		return
	}
	c.ready = true
	c.pauseTimers()
	w.handle(eventReady)
}

// watchReady begins to find out whether c is ready, where c doesn't tell by itself.
func (c *process) watchReady() {
	h, pid := c.holder, c.pid
	switch r := h.opt.Ready; r.kind {
	case readyAuto:
		h.after(time.Until(c.began.Add(grace)), func() {
			if c.ready || c.ended || c.spoke || h.speaks {
				return
			}
			if !h.believed {
				h.believed = true
				h.log("the program has said nothing by sd_notify within %v and is taken as ready; if it needs longer, see --ready", grace)
			}
			c.isReady()
		})
	case readyAfter:
		h.after(time.Until(c.began.Add(r.after)), c.isReady)
	case readyExec:
		ctx, cancel := context.WithCancel(context.Background())
		c.check = cancel
		go c.try(ctx, func(ctx context.Context) error { return h.askCommand(ctx, pid, r.text) })
	case readyHTTP:
		ctx, cancel := context.WithCancel(context.Background())
		c.check = cancel
		go c.try(ctx, func(ctx context.Context) error { return askHTTP(ctx, h.opt.httpSocket(), r.text, h.opt.ReadyHost, pid) })
	}
}

// The pauses between two questions.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = time.Second
)

// try asks until the answer is nil, or ctx ends.
func (c *process) try(ctx context.Context, ask func(context.Context) error) {
	for pause := firstPause; ; pause = min(pause*3/2, lastPause) {
		err := ask(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			c.holder.post(c.isReady)
			return
		}
		c.holder.post(func() { c.lastTry = err })
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// askCommand runs a command of the shell's about the copy with that pid. It is started and waited for by the
// goroutine of Run, as all children are.
func (h *Holder) askCommand(ctx context.Context, of int, command string) error {
	result := make(chan error, 1)
	pids := make(chan int, 1)
	relay, err := newRelay(ctx, h.opt.httpSocket(), of)
	if err != nil {
		return err
	}
	defer relay.close()
	h.post(func() {
		env := append(os.Environ(), fmt.Sprintf("HANDOFF_PID=%d", of))
		if relay != nil {
			env = append(env, "HANDOFF_ADDRESS="+relay.address())
		}
		cmd := &exec.Cmd{Path: "/bin/sh", Args: []string{"sh", "-c", command}, Env: env}
		pid, err := h.startCommand(cmd, func(status unix.WaitStatus) {
			var err error
			if !status.Exited() || status.ExitStatus() != 0 {
				err = fmt.Errorf("the command %q has ended: %s", command, describe(status))
			}
			result <- err
		})
		if err != nil {
			result <- err
			return
		}
		pids <- pid
	})
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
	case <-h.done:
		return net.ErrClosed
	}
	h.post(func() {
		select {
		case pid := <-pids:
			h.endCommand(pid)
		default:
		}
	})
	return ctx.Err()
}
