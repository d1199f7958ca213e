package handoff

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

// enterPhase notes that the machine has changed its phase.
func (u *Upgrader) enterPhase() {
	switch u.machine.phase {
	case phaseUpgrading:
		u.history.begin(u.generation)
		if u.opts.Preflight != nil {
			u.step("preflight")
		} else {
			u.step("start")
		}
	case phaseProbation:
		u.step("probation")
	case phaseAborting:
		u.step("rollback")
	case phaseStopping:
		u.tell(Event{Type: "stopping"})
	}
}

// step begins a step of the upgrade, if there is one.
func (u *Upgrader) step(name string) {
	if u.history.enter(name) {
		u.tell(Event{Type: "step", Step: name})
	}
}

// conclude records how an upgrade has ended.
func (u *Upgrader) conclude(err error) {
	pid := 0
	if u.successor != nil {
		pid = u.successor.pid
	}
	r := u.history.conclude(pid, err)
	if r != nil {
		u.tell(Event{Type: r.Outcome, Upgrade: r})
	}
}

// printed is what the log says of a failed check besides the error. What a successor has
// written to standard error is in the log most often.
func printed(err error) []any {
	var e *UpgradeError
	if errors.As(err, &e) && e.Phase == "preflight" && e.Output != "" {
		return []any{"output", e.Output}
	}
	return nil
}

// noteDrained is when an older generation has ended.
func (u *Upgrader) noteDrained(e *relative) {
	u.history.drained(e.Generation)
	d := u.drainingStatus(e)
	u.tell(Event{Type: "drained", Draining: &d})
}

// past makes the message of the history for a successor.
func (u *Upgrader) past() *link.History { return historyOf(u.history.all()) }

func historyOf(all []UpgradeRecord) *link.History {
	if len(all) == 0 {
		return nil
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil
	}
	return &link.History{Upgrades: text}
}

// foretellHistory is just before the successor takes over: when it answers on the control
// socket, it has to know how it came to be.
func (u *Upgrader) foretellHistory() { u.sendHistory(historyOf(u.history.foretell(u.successor.pid))) }

// tellHistory is when the successor has taken over, with how long that took.
func (u *Upgrader) tellHistory() { u.sendHistory(u.past()) }

func (u *Upgrader) sendHistory(past *link.History) {
	if past == nil || !u.successor.linked {
		return
	}
	if err := u.successor.link.Send(linkWait, link.KindHistory, past); err != nil {
		u.log.Debug("telling the successor of former upgrades", "error", err)
	}
}

// learnHistory takes what the predecessor tells of former upgrades.
func (u *Upgrader) learnHistory(m link.Message) {
	u.history.adopt(func() (records []UpgradeRecord, err error) {
		var past link.History
		if err = m.Decode(&past); err == nil {
			err = json.Unmarshal(past.Upgrades, &records)
		}
		return records, err
	})
}

// preflight runs the check command before the successor is started, if there is one.
func (u *Upgrader) preflight(s *successor) error {
	if u.opts.Preflight == nil {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(s.wanted, u.opts.ReadyTimeout, ErrTimeout)
	defer cancel()
	output, err := u.check(ctx)
	if err == nil {
		err = context.Cause(s.wanted)
	}
	if err != nil {
		return &preflightFault{output, err}
	}
	u.post(occurrence{run: func() {
		s.unchecked = false
		u.step("start")
	}})
	return nil
}

// preflightFault is the failure of an upgrade by its check command.
type preflightFault struct {
	output string
	err    error
}

func (f *preflightFault) Error() string { return f.err.Error() }
func (f *preflightFault) Unwrap() error { return f.err }
