package supervise

import (
	"fmt"
	"slices"
	"testing"
)

// world is what the effects of a machine come to: which copies there are.
type world struct {
	m          machine
	main, next *thing
	waiting    bool // for the probation's end, or for a new start
	reports    int  // how many upgrades were said to have ended, and how the last one did
	asked      int
	ended      bool
	lost       string // what may never happen
}

type thing struct{ ready bool }

func (w *world) apply(effects []effect) {
	for _, e := range effects {
		switch e {
		case effectLaunch:
			switch {
			case w.main == nil:
				w.main = &thing{}
			case w.next == nil:
				w.next = &thing{}
			default:
				w.lost = "a third copy was started"
			}
		case effectProbation, effectBackoff:
			if w.waiting {
				w.lost = "two timers"
			}
			w.waiting = true
		case effectCancel:
			w.waiting = false
		case effectReplace:
			if w.main == nil || w.next == nil || !w.next.ready {
				w.lost = "a copy was replaced by none that is ready"
			}
			w.main, w.next = w.next, nil
		case effectAdopt:
			if w.main != nil || w.next == nil {
				w.lost = "adopted out of turn"
			}
			w.main, w.next = w.next, nil
		case effectKillNext:
			w.next = nil
		case effectKillMain:
			if w.next != nil || w.main == nil || w.main.ready {
				w.lost = "a copy that serves was killed"
			}
			w.main = nil
		case effectStopAll:
			w.main, w.next = nil, nil
		case effectUpgraded, effectFailed:
			w.reports++
		case effectEnded:
			w.ended = true
		}
	}
}

// possible are the events that can come in w.
func (w *world) possible() (all []event) {
	if w.m.phase == phaseIdle {
		return []event{eventStart, eventStop}
	}
	all = append(all, eventStop)
	if w.asked < 2 {
		all = append(all, eventUpgrade)
	}
	if w.m.upgrade || w.m.pending {
		all = append(all, eventAbort)
	}
	if w.main != nil {
		all = append(all, eventGone)
		if w.next == nil && !w.main.ready {
			all = append(all, eventReady, eventGiveUp)
		}
	}
	if w.next != nil {
		all = append(all, eventNextGone)
		if !w.next.ready {
			all = append(all, eventReady, eventGiveUp)
		}
	}
	if w.waiting {
		if w.m.phase == phaseProbation {
			all = append(all, eventProven)
		} else {
			all = append(all, eventRetry)
		}
	}
	return all
}

func (w world) happen(e event, again bool) world {
	for _, t := range []**thing{&w.main, &w.next} {
		if *t != nil {
			own := **t
			*t = &own
		}
	}
	switch e {
	case eventUpgrade:
		// As the holder does it: one at a time.
		if w.m.upgrade || w.m.pending {
			return w
		}
		w.asked++
	case eventReady:
		if w.next != nil {
			w.next.ready = true
		} else {
			w.main.ready = true
		}
	case eventGone:
		w.main = nil
	case eventNextGone:
		w.next = nil
	case eventProven, eventRetry:
		w.waiting = false
	}
	w.apply(w.m.step(e, again))
	return w
}

func (w *world) wrong() string {
	serving := w.main != nil && w.main.ready
	switch p := w.m.phase; {
	case w.lost != "":
		return w.lost
	case p == phaseEnded && (w.main != nil || w.next != nil || w.waiting || !w.ended):
		return "ended, and something goes on"
	case p == phaseStarting && (w.main == nil || serving || w.next != nil || w.waiting):
		return "starting means one copy that is not ready"
	case p == phaseServing && (!serving || w.next != nil || w.waiting):
		return "serving means one copy that is ready"
	case p == phaseUpgrading && (!serving || w.next == nil || w.next.ready || w.waiting):
		return "upgrading means one that serves and one that starts"
	case p == phaseProbation && (!serving || w.next == nil || !w.next.ready || !w.waiting):
		return "probation means two that serve, for a time"
	case p == phaseBackoff && (w.main != nil || w.next != nil || !w.waiting):
		return "backoff means none, for a time"
	case p != phaseEnded && p != phaseBackoff && p != phaseIdle && w.main == nil:
		return "no copy, and nothing is waited for"
	}
	open := 0
	if w.m.upgrade || w.m.pending {
		open = 1
	}
	if w.m.phase != phaseEnded && w.reports+open != w.asked {
		return fmt.Sprintf("%d upgrades asked for, %d reported, %d open", w.asked, w.reports, open)
	}
	return ""
}

func TestEveryOrderOfEventsLeavesAWorkerWithCopiesThatFitItsPhase(t *testing.T) {
	t.Parallel()
	const depth = 9
	orders := 0
	var walk func(w world, path []string)
	walk = func(w world, path []string) {
		if reason := w.wrong(); reason != "" {
			t.Fatalf("%v: %s (phase %v)", path, reason, w.m.phase)
		}
		if len(path) == depth {
			orders++
			return
		}
		for _, e := range w.possible() {
			agains := []bool{true}
			if e == eventGone || e == eventGiveUp {
				agains = []bool{true, false}
			}
			for _, again := range agains {
				walk(w.happen(e, again), append(slices.Clip(path), fmt.Sprint(e, " ", again)))
			}
		}
	}
	walk(world{}, nil)
	if orders < 10_000 {
		t.Errorf("only %d orders were tried", orders)
	}
}

func TestAnEventThatComesTooLateChangesNothing(t *testing.T) {
	t.Parallel()
	for phase, events := range map[phase][]event{
		phaseServing:   {eventAbort, eventReady, eventGiveUp, eventNextGone, eventProven, eventRetry, eventStart},
		phaseBackoff:   {eventAbort, eventReady, eventGiveUp, eventGone, eventNextGone, eventProven, eventStart},
		phaseStarting:  {eventAbort, eventProven, eventRetry, eventNextGone, eventStart},
		phaseUpgrading: {eventProven, eventRetry, eventUpgrade, eventStart},
		phaseProbation: {eventReady, eventGiveUp, eventRetry, eventUpgrade, eventStart},
		phaseEnded:     {eventAbort, eventReady, eventGiveUp, eventGone, eventNextGone, eventProven, eventRetry, eventUpgrade, eventStop, eventStart},
	} {
		for _, e := range events {
			m := machine{phase: phase}
			if effects := m.step(e, true); len(effects) > 0 || m.phase != phase {
				t.Errorf("%v in phase %v: %v, then phase %v", e, phase, effects, m.phase)
			}
		}
	}
}
