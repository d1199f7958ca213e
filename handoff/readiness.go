package handoff

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/handoff-dev/handoff/internal/notify"
)

// readiness is what a successor has said of it so far. It belongs to the goroutine of
// loop.
//
// READY=1 is public: a program's go-systemd sends it before an init that is slow, and
// so does any child that has inherited NOTIFY_SOCKET. One that has called New proves by
// the lines that only Upgrader.Ready sends (see confidential) that all is up; for a
// program that never calls New the plain one has to do.
type readiness struct {
	kin      bool // it runs a program that is built with this package, so it may call New yet
	caller   int  // the process that has called New, by its hello
	held     bool // a plain READY=1 waits for the hello, or for what tells that none comes
	plain    bool // a plain READY=1 has counted
	passedBy bool // one has not
	unlinked bool // it has closed its end of the link: it never calls New
}

// helloWait bounds the wait for the hello of a program that is built with this package
// and has sent a plain READY=1. It may be one that knows LISTEN_FDS alone.
const helloWait = 5 * time.Second

// errEarlyReady is of a successor that took over, to all appearances, and has called
// New since.
var errEarlyReady = errors.New("handoff: the successor said READY=1 before its Upgrader.Ready: leave it to Ready, or send it after Ready has returned")

// proves tells whether m is sent by Upgrader.Ready.
func proves(m notify.Message) bool {
	for _, line := range m.Lines {
		if strings.HasPrefix(line, confidential) {
			return true
		}
	}
	return false
}

// isOwn tells whether m comes from the successor itself, not from a child of its. Where
// a wrapper stands between, as unshare(1), or the kernel doesn't tell the sender, that
// can't be told.
func (s *successor) isOwn(m notify.Message) bool {
	return m.PID == 0 || m.PID == s.pid || s.readiness.caller != s.pid
}

// saidReady takes a READY=1 while the successor is to become ready.
func (u *Upgrader) saidReady(s *successor, m notify.Message) {
	r := &s.readiness
	switch {
	case proves(m) && s.isOwn(m):
		_, s.moves = m.Get(confidential + "MANY_CONNECTIONS")
		_, s.stateful = m.Get(confidential + "STATE")
		// Its hello comes by another way, and may still be on it.
		s.linked = true
		u.countReady(s)
	case s.linked:
		r.passedBy = true
		u.log.Debug("passing by a READY=1 that Upgrader.Ready has not sent", "successor", s.pid, "sender", m.PID)
	case r.held:
	case r.kin && !r.unlinked:
		r.held = true
		u.log.Debug("a READY=1 waits for the successor's hello", "successor", s.pid, "sender", m.PID)
		u.settleReady(s, min(helloWait, u.opts.ReadyTimeout/2))
	default:
		r.plain = true
		u.countReady(s)
	}
}

func (u *Upgrader) countReady(s *successor) {
	s.readiness.held, s.ready = false, true
	u.handle(occurrence{event: eventSuccessorReady, from: s})
}

// settleReady lets a READY=1 that is held count after d, if there was no hello then and
// the process lives.
func (u *Upgrader) settleReady(s *successor, d time.Duration) {
	go func() {
		if s.endsWithin(d) {
			return
		}
		u.post(occurrence{run: func() {
			if s != u.successor || !s.readiness.held || !u.awaitsSuccessor() {
				return
			}
			s.readiness.plain = true
			u.countReady(s)
		}})
	}()
}

// awaitsSuccessor tells whether there is one that is to become ready.
func (u *Upgrader) awaitsSuccessor() bool {
	return u.machine.phase == phaseUpgrading || u.machine.phase == phaseReviving
}

// greeted is when the successor's hello has come, from the process caller.
func (u *Upgrader) greeted(s *successor, caller int) {
	r := &s.readiness
	s.linked, r.caller = true, caller
	if r.held {
		r.held, r.passedBy = false, true
		u.log.Debug("passing by a READY=1 that came before Upgrader.Ready", "successor", s.pid)
	}
	if r.plain && s == u.successor && u.machine.phase == phaseProbation {
		u.handle(occurrence{event: eventSuccessorFailed, cause: errEarlyReady, from: s})
	}
}

// unlinked is when the successor has closed its end of the link.
func (u *Upgrader) unlinked(s *successor) {
	s.readiness.unlinked = true
	if s.readiness.held {
		u.settleReady(s, endLag) // it may be the end of its process
	}
}

// late is why a successor that took too long has failed.
func (s *successor) late() error {
	if s.readiness.passedBy {
		return fmt.Errorf("%w: its READY=1 does not count, for a program that calls New is ready by its Upgrader.Ready", ErrTimeout)
	}
	return ErrTimeout
}
