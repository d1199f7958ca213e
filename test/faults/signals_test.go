//go:build linux

package faults

import (
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// steps are those of an upgrade, in order. In the first there is no new process
// yet.
var steps = []string{
	"fork",      // the old one is about to start a successor
	"stage",     // the new one is between fork and exec
	"new",       // it runs, and has not said hello
	"ready",     // it has, and is not ready
	"probation", // it is ready
	"commit",    // the PID file names it, nobody else knows
	"committed", // it has been told
	"draining",  // it serves alone, the old one has a request to answer
}

// stopTimeout is ReadyTimeout where a process is stopped for longer.
const stopTimeout = time.Second

// signalScenarios are all signals at all steps to all processes.
func signalScenarios() (all []*scenario) {
	for _, supervised := range []bool{false, true} {
		for _, step := range steps {
			for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGTERM, syscall.SIGHUP} {
				for _, who := range []string{"old", "new", "both"} {
					if step == "fork" && who != "old" {
						continue
					}
					all = append(all, signalScenario(step, sig, who, supervised))
				}
			}
		}
	}
	return all
}

func signalScenario(step string, sig syscall.Signal, who string, supervised bool) *scenario {
	name := map[syscall.Signal]string{syscall.SIGKILL: "SIGKILL", syscall.SIGSTOP: "SIGSTOP", syscall.SIGTERM: "SIGTERM", syscall.SIGHUP: "SIGHUP"}[sig]
	c := &scenario{step: step, fault: name, who: who, manager: supervised}
	if sig == syscall.SIGSTOP {
		c.flags = []string{"-ready-timeout", stopTimeout.String()}
	}
	c.inject = func(s *service) { s.signalAt(step, sig, who) }
	switch sig {
	case syscall.SIGKILL:
		c.expectKill()
	case syscall.SIGSTOP:
		c.expectStop()
	case syscall.SIGTERM:
		c.expectTerm()
	case syscall.SIGHUP:
		c.expectHangup()
	}
	c.short = !supervised && (sig == syscall.SIGKILL || sig == syscall.SIGTERM) || supervised && sig == syscall.SIGKILL && who == "new"
	return c
}

func (c *scenario) early() bool { return strings.Contains("stage new ready", c.step) }

func (c *scenario) decided() bool { return strings.Contains("commit committed draining", c.step) }

func (c *scenario) expectKill() {
	c.loses = c.who
	switch {
	case c.who == "new" && c.step == "commit":
		c.serves, c.cause = theOld, "the successor exited when it was to take over"
	case c.who == "both":
		c.serves, c.leaves = nobody, "the beginning of a PID file"
	case c.step == "fork" || c.who == "new" && c.decided():
		c.serves = nobody
	case c.who == "new":
		c.serves, c.cause = theOld, "signal: killed"
	case c.step == "committed" || c.step == "draining":
		c.serves = theNew
	default:
		c.serves, c.cause = theNew, "the predecessor has died before it handed over"
	}
}

func (c *scenario) expectStop() {
	switch {
	case c.step == "fork" || !c.early():
		c.serves = theNew
	case c.who == "new":
		c.serves, c.cause = theOld, "not ready in time"
	default:
		c.serves = either
	}
}

func (c *scenario) expectTerm() {
	switch {
	case c.who == "old" && c.decided():
		c.serves = theNew
	case c.who == "old":
		c.serves = nobody
	case c.who == "both" || c.decided():
		c.serves = nobody
	case c.step == "ready" || c.step == "probation":
		c.serves, c.cause = theOld, "the successor stops"
	default:
		c.serves, c.cause = theOld, "signal: terminated"
	}
}

func (c *scenario) expectHangup() {
	c.serves = later
	if c.who == "new" && (c.step == "stage" || c.step == "new") {
		// SIGHUP ends a process that has no handler yet.
		c.serves, c.cause = theOld, "signal: hangup"
	}
}

// signalAt starts an upgrade, has it stop at a step, sends the signal, and lets it go
// on.
func (s *service) signalAt(step string, sig syscall.Signal, who string) {
	s.t.Helper()
	fresh := s.upgradeTo(step)
	targets := map[string][]int{"old": {s.old}, "new": {fresh}, "both": {s.old, fresh}}[who]
	s.procs.signal(targets[0], sig)
	for _, pid := range targets[1:] {
		s.procs.signalAny(pid, sig) // it may have seen to the end of this one
	}
	switch {
	case sig == syscall.SIGKILL:
		for _, pid := range targets {
			s.procs.ended(pid)
		}
	case who != "old" && sig != syscall.SIGSTOP && (step == "stage" || step == "new"):
		s.procs.ended(fresh) // it has no handler
	case who == "both" && sig == syscall.SIGTERM && step != "draining":
		// The old one may be first to act, and end the new one.
	case who != "old" && sig == syscall.SIGTERM:
		s.awaitLog("stop signal", "pid="+strconv.Itoa(fresh))
	case who != "old" && sig == syscall.SIGHUP:
		s.awaitLog("upgrade signal", "pid="+strconv.Itoa(fresh))
	}
	if step != "draining" {
		s.release(step)
	}
	if sig == syscall.SIGSTOP {
		time.Sleep(stopTimeout * 3 / 2) // the fault itself: it has to last
		for _, pid := range targets {
			s.procs.signalAny(pid, syscall.SIGCONT)
		}
	}
	if step == "draining" {
		killed := sig == syscall.SIGKILL && who != "new"
		if err := s.finishRequest(); err != nil && !killed {
			s.t.Errorf("the request that the old one had begun to answer: %v", err)
		}
	}
}

// upgradeTo starts an upgrade and returns when it is held at the step, with the
// successor's pid if there is one.
func (s *service) upgradeTo(step string) (fresh int) {
	s.t.Helper()
	if step == "draining" {
		s.holdRequest()
		s.procs.signal(s.old, syscall.SIGHUP)
		s.awaitLog("the predecessor has handed over")
		fresh = s.successor()
		proctest.Until(s.t, "the successor serves", func() error { _, err := s.serving(); return err })
		return fresh
	}
	s.hold(step)
	s.procs.signal(s.old, syscall.SIGHUP)
	at := s.arrived(step)
	switch step {
	case "fork":
		return 0
	case "stage", "new", "ready":
		return at
	}
	return s.successor()
}
