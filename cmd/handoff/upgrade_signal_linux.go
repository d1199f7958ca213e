package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/systemctl"
)

// A service without a control socket is upgraded by SIGHUP. How that goes is seen from
// outside:
//
//   - It has handed over when its listeners are another process's alone, which has
//     appeared since, or when systemd has another main process.
//   - It has failed when the process that has appeared is gone and the old one still
//     has its listeners, or when systemd shows the library's status about it.
//
// What can't be seen is said.

const (
	// lookEvery is how often it is looked at. A successor that fails at its start lives
	// a few milliseconds.
	lookEvery = 2 * time.Millisecond
	// askEvery is how often systemd is asked.
	askEvery = 50 * time.Millisecond
	// appearance is how long a service may take until something is seen of an upgrade.
	appearance = 5 * time.Second
	// signalPatience is how long an upgrade by signal may take without --timeout.
	signalPatience = 2 * time.Minute
)

// watched is a service that is watched from outside.
type watched struct {
	service
	pidfd     int
	listening map[uint64]bool // the sockets on which it listened before
	known     map[int]bool    // processes that were there before
	parent    int
	next      int  // the process that has appeared
	seen      bool // there was one
	said      string
	run       systemctl.Run
}

func bySignal(ctx context.Context, opt upgradeOptions, s service, run systemctl.Run, show *phases) (a handoff.UpgradeAnswer, err error) {
	a = handoff.UpgradeAnswer{Schema: handoff.StatusSchema, Type: "result", PID: s.pid}
	w, err := watch(ctx, s, run)
	if err != nil {
		return a, err
	}
	defer unix.Close(w.pidfd)
	if err := unix.PidfdSendSignal(w.pidfd, unix.SIGHUP, nil, 0); err != nil {
		return a, noService(fmt.Errorf("signal process %d: %w", s.pid, err), "")
	}
	if !opt.wait {
		a.Outcome = "begun"
		return a, nil
	}
	show.event(handoff.Event{Type: "step", Time: time.Now(), Step: "ready"})
	timeout := opt.timeout
	if timeout == 0 {
		timeout = signalPatience
	}
	began := time.Now()
	asked := time.Time{}
	for {
		if done, err := w.look(&a); done || err != nil {
			return a, err
		}
		if w.unit != "" && time.Since(asked) >= askEvery {
			asked = time.Now()
			if done := w.ask(ctx, &a); done {
				return a, nil
			}
		}
		if took := time.Since(began); took >= timeout {
			return a, codeError{fmt.Errorf("%v after SIGHUP process %d still has its sockets: whether it upgrades is not known, for it has no control socket", timeout, s.pid), exitTimedOut}
		} else if took >= appearance && !w.seen && w.unit == "" {
			a.Outcome, a.Message = "failed", fmt.Sprintf("nothing was seen of an upgrade within %v after SIGHUP; the log of process %d may tell why (the service has no control socket)", appearance, s.pid)
			return a, nil
		}
		select {
		case <-ctx.Done():
			return a, context.Cause(ctx)
		case <-time.After(lookEvery):
		}
	}
}

// watch looks at a service before it gets the signal.
func watch(ctx context.Context, s service, run systemctl.Run) (*watched, error) {
	caught, err := catches(s.pid, unix.SIGHUP)
	if err != nil {
		return nil, unseen(s.pid, err)
	}
	if !caught {
		return nil, noService(fmt.Errorf("process %d has no control socket, and SIGHUP would kill it: it is no service that upgrades itself", s.pid), "--pid wants the main process")
	}
	w := &watched{service: s, run: run, listening: map[uint64]bool{}, known: map[int]bool{}}
	if w.listening, err = listeners(s.pid); err != nil {
		return nil, unseen(s.pid, err)
	}
	if w.unit == "" {
		w.unit = unitOf(s.pid)
	}
	if w.unit != "" {
		if main, said, err := w.show(ctx); err != nil || main != s.pid {
			w.unit = "" // it is not for systemd to tell
		} else {
			w.said = said
		}
	}
	w.parent = parentOf(s.pid)
	for _, p := range w.family() {
		w.known[p] = true
	}
	if w.pidfd, err = unix.PidfdOpen(s.pid, 0); err != nil {
		return nil, noService(fmt.Errorf("process %d: %w", s.pid, os.NewSyscallError("pidfd_open", err)), "")
	}
	return w, nil
}

// look returns true when the outcome is seen.
func (w *watched) look(a *handoff.UpgradeAnswer) (bool, error) {
	if w.next != 0 && !alive(w.next) || w.next != 0 && isZombie(w.next) {
		w.next = 0
	}
	for _, p := range w.family() {
		if !w.known[p] {
			w.next, w.seen = p, true
		}
	}
	has := w.holds(w.pid)
	switch gone := w.gone(); {
	case !has && w.next != 0 && w.holds(w.next):
		a.Outcome, a.PID = "committed", w.next
		return true, nil
	case gone && w.next == 0:
		return true, fmt.Errorf("process %d has ended, and no successor of it is seen", w.pid)
	case w.seen && w.next == 0 && has && w.unit == "":
		a.Outcome, a.Message = "failed", fmt.Sprintf("the successor of process %d has ended; the service's log tells why (it has no control socket)", w.pid)
		return true, nil
	}
	return false, nil
}

func (w *watched) gone() bool {
	fds := []unix.PollFd{{Fd: int32(w.pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0
}

// holds tells whether a process listens on one of the service's sockets.
func (w *watched) holds(pid int) bool {
	sockets, err := listenersAmong(pid, w.listening)
	return err == nil && sockets > 0
}

// ask returns true when systemd knows the outcome.
func (w *watched) ask(ctx context.Context, a *handoff.UpgradeAnswer) bool {
	main, said, err := w.show(ctx)
	switch {
	case err != nil:
	case main != 0 && main != w.pid:
		a.Outcome, a.PID = "committed", main
		return true
	case said != w.said:
		w.said = said
		if cause, ok := failureIn(said); ok {
			a.Outcome, a.Message = "failed", cause
			return true
		}
	}
	return false
}

// family are the children of the process and of its parent, which under systemd is
// the successor's too.
func (w *watched) family() []int {
	all := childrenOf(w.pid)
	if w.parent > 0 {
		all = append(all, childrenOf(w.parent)...)
	}
	return all
}
