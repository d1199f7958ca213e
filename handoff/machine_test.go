package handoff

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

var (
	eventNames = []string{"ready", "committed", "orphaned", "upgrade", "signal", "successor ready", "successor failed", "successor gone", "probation over", "stop", "deserted", "released"}
	actNames   = []string{"open", "say ready", "become", "start", "pause", "resume", "probation", "commit", "end", "dismiss", "succeed", "fail", "refuse", "forward", "drain", "hurry", "revive", "forsake", "release"}
	errCause   = errors.New("the cause")
)

func stepNames(steps []step) string {
	names := make([]string, len(steps))
	for i, s := range steps {
		names[i] = actNames[s.do]
	}
	return strings.Join(names, ", ")
}

// TestEachEventDoesInEachPhaseWhatTheTableSays has a row for each phase. What is
// not in a row changes nothing and does nothing.
func TestEachEventDoesInEachPhaseWhatTheTableSays(t *testing.T) {
	type row map[event]string // what is done, and the phase after
	for _, tc := range []struct {
		sentence string
		in       machine
		row      row
	}{
		{"starting", machine{phase: phaseStarting}, row{
			eventReady:   "open, become, say ready -> serving",
			eventUpgrade: "refuse -> starting",
			eventSignal:  " -> starting, wanted",
			eventStop:    "drain -> stopping",
		}},
		{"starting, with an upgrade wanted", machine{phase: phaseStarting, wanted: true}, row{
			eventReady:   "open, become, say ready, start -> upgrading",
			eventUpgrade: "refuse -> starting, wanted",
			eventSignal:  " -> starting, wanted",
			eventStop:    "drain -> stopping",
		}},
		{"starting as a successor", machine{phase: phaseStarting, awaiting: true}, row{
			eventReady:     "open, say ready -> serving, awaiting",
			eventCommitted: " -> starting",
			eventOrphaned:  " -> starting",
			eventUpgrade:   "refuse -> starting, awaiting",
			eventSignal:    " -> starting, awaiting, wanted",
			eventStop:      "drain -> stopping, awaiting",
		}},
		{"on probation", machine{phase: phaseServing, awaiting: true}, row{
			eventCommitted: "become -> serving",
			eventOrphaned:  "become -> serving",
			eventUpgrade:   "refuse -> serving, awaiting",
			eventSignal:    " -> serving, awaiting, wanted",
			eventStop:      "drain -> stopping, awaiting",
		}},
		{"on probation, with an upgrade wanted", machine{phase: phaseServing, awaiting: true, wanted: true}, row{
			eventCommitted: "become, start -> upgrading",
			eventOrphaned:  "become, start -> upgrading",
			eventUpgrade:   "refuse -> serving, awaiting, wanted",
			eventSignal:    " -> serving, awaiting, wanted",
			eventStop:      "drain -> stopping, awaiting",
		}},
		{"serving", machine{phase: phaseServing}, row{
			eventUpgrade: "start -> upgrading",
			eventSignal:  "start -> upgrading",
			eventStop:    "drain -> stopping",
		}},
		{"upgrading", machine{phase: phaseUpgrading}, row{
			eventUpgrade:         "refuse -> upgrading",
			eventSignal:          " -> upgrading, wanted",
			eventSuccessorReady:  "pause, probation -> probation",
			eventSuccessorFailed: "end -> aborting",
			eventSuccessorGone:   "fail -> serving",
			eventStop:            "fail, end, drain -> stopping",
		}},
		{"upgrading, with one more wanted", machine{phase: phaseUpgrading, wanted: true}, row{
			eventUpgrade:         "refuse -> upgrading, wanted",
			eventSignal:          " -> upgrading, wanted",
			eventSuccessorReady:  "pause, probation -> probation, wanted",
			eventSuccessorFailed: "end -> aborting, wanted",
			eventSuccessorGone:   "fail, start -> upgrading",
			eventStop:            "fail, end, drain -> stopping",
		}},
		{"the successor's probation", machine{phase: phaseProbation}, row{
			eventUpgrade:         "refuse -> probation",
			eventSignal:          " -> probation, wanted",
			eventProbationOver:   "commit, succeed, drain -> draining",
			eventSuccessorFailed: "resume, end -> aborting",
			eventSuccessorGone:   "resume, fail -> serving",
			eventStop:            "fail, dismiss, drain -> stopping",
		}},
		{"the successor's probation, with one more wanted", machine{phase: phaseProbation, wanted: true}, row{
			eventUpgrade:         "refuse -> probation, wanted",
			eventSignal:          " -> probation, wanted",
			eventProbationOver:   "commit, succeed, drain, forward -> draining",
			eventSuccessorFailed: "resume, end -> aborting, wanted",
			eventSuccessorGone:   "resume, fail, start -> upgrading",
			eventStop:            "fail, dismiss, drain -> stopping",
		}},
		{"aborting", machine{phase: phaseAborting, cause: errCause}, row{
			eventUpgrade:       "refuse -> aborting",
			eventSignal:        " -> aborting, wanted",
			eventSuccessorGone: "fail -> serving",
			eventStop:          "fail, end, drain -> stopping",
		}},
		{"draining", machine{phase: phaseDraining}, row{
			eventUpgrade: "refuse -> draining",
			eventSignal:  "forward -> draining",
			eventStop:    "hurry -> draining",
		}},
		{"draining, with its sockets kept", machine{phase: phaseDraining, spare: true}, row{
			eventUpgrade:  "refuse -> draining, spare",
			eventSignal:   "forward -> draining, spare",
			eventStop:     "release, hurry -> draining",
			eventDeserted: "revive -> reviving",
			eventReleased: "release -> draining",
		}},
		{"reviving", machine{phase: phaseReviving}, row{
			eventUpgrade:         "refuse -> reviving",
			eventSignal:          " -> reviving, wanted",
			eventSuccessorReady:  "commit, release -> draining",
			eventSuccessorFailed: "end, forsake, release -> draining",
			eventSuccessorGone:   "forsake, release -> draining",
			eventStop:            "end, forsake, release, hurry -> draining",
		}},
		{"reviving, with an upgrade wanted", machine{phase: phaseReviving, wanted: true}, row{
			eventUpgrade:         "refuse -> reviving, wanted",
			eventSignal:          " -> reviving, wanted",
			eventSuccessorReady:  "commit, release, forward -> draining",
			eventSuccessorFailed: "end, forsake, release -> draining",
			eventSuccessorGone:   "forsake, release -> draining",
			eventStop:            "end, forsake, release, hurry -> draining",
		}},
		{"stopping", machine{phase: phaseStopping}, row{
			eventReady:   "refuse -> stopping",
			eventUpgrade: "refuse -> stopping",
			eventStop:    "hurry -> stopping",
		}},
		{"stopping as a successor", machine{phase: phaseStopping, awaiting: true}, row{
			eventReady:     "refuse -> stopping, awaiting",
			eventCommitted: "become -> stopping",
			eventOrphaned:  "become -> stopping",
			eventUpgrade:   "refuse -> stopping, awaiting",
			eventStop:      "hurry -> stopping, awaiting",
		}},
	} {
		for e := eventReady; e <= eventReleased; e++ {
			m := tc.in
			want, ok := tc.row[e]
			if !ok {
				want = " -> " + describe(m)
			}
			if got := stepNames(m.handle(e, errCause)) + " -> " + describe(m); got != want {
				t.Errorf("%s: %s: got %q, want %q", tc.sentence, eventNames[e], got, want)
			}
		}
	}
}

func describe(m machine) string {
	s := m.phase.String()
	if m.awaiting {
		s += ", awaiting"
	}
	if m.wanted {
		s += ", wanted"
	}
	if m.spare {
		s += ", spare"
	}
	return s
}

func TestARefusalNamesTheState(t *testing.T) {
	for _, tc := range []struct {
		m    machine
		e    event
		want error
	}{
		{machine{phase: phaseStarting}, eventUpgrade, ErrNotReady},
		{machine{phase: phaseServing, awaiting: true}, eventUpgrade, ErrNotReady},
		{machine{phase: phaseUpgrading}, eventUpgrade, ErrUpgradeInProgress},
		{machine{phase: phaseProbation}, eventUpgrade, ErrUpgradeInProgress},
		{machine{phase: phaseAborting}, eventUpgrade, ErrUpgradeInProgress},
		{machine{phase: phaseDraining}, eventUpgrade, ErrHandedOver},
		{machine{phase: phaseReviving}, eventUpgrade, ErrHandedOver},
		{machine{phase: phaseStopping}, eventUpgrade, ErrStopping},
		{machine{phase: phaseStopping}, eventReady, ErrStopping},
	} {
		in := tc.m
		steps := tc.m.handle(tc.e, nil)
		if len(steps) != 1 || steps[0].do != actRefuse || !errors.Is(steps[0].err, tc.want) {
			t.Errorf("%s, %s: got %v, want a refusal by %v", describe(in), eventNames[tc.e], steps, tc.want)
		}
	}
}

func TestAnUpgradeFailsByItsFirstCause(t *testing.T) {
	m := machine{phase: phaseUpgrading}
	m.handle(eventSuccessorFailed, errCause)
	steps := m.handle(eventSuccessorGone, errors.New("signal: killed"))
	if len(steps) != 1 || steps[0].err != errCause {
		t.Errorf("the failure is told as %v, want %v", steps, errCause)
	}
	m = machine{phase: phaseProbation}
	if steps := m.handle(eventStop, nil); steps[0].do != actFail || !errors.Is(steps[0].err, ErrStopping) {
		t.Errorf("a stop during probation is told as %v, want %v", steps[0].err, ErrStopping)
	}
}

// world is a machine and what is around it. Its rules say which events can
// happen, and which actions make no sense or break a promise.
type world struct {
	m           machine
	predecessor bool // it lives, and has not committed
	said        bool // ready was said
	main        bool
	gates       string // "", "open", "paused", "closed"
	successor   string // "", "started", "ready"
	dead        bool   // the successor has ended after the commit
	clock       bool   // the probation's
	committed   bool
	asked       bool // a call of Upgrade waits for its answer
	owed        bool // a signal has not led to an upgrade yet
	readopts    bool // the sockets are to be kept
	kept        bool // they are
}

// can tells whether an event can happen in this world.
func (w world) can(e event) bool {
	switch e {
	case eventCommitted:
		return w.predecessor && w.said
	case eventOrphaned:
		return w.predecessor
	case eventSuccessorReady:
		return w.successor == "started"
	case eventSuccessorFailed, eventSuccessorGone:
		return w.successor != ""
	case eventProbationOver:
		return w.clock
	case eventDeserted:
		return w.committed && w.m.phase == phaseDraining
	case eventReleased:
		return w.committed
	}
	return true
}

// happen lets an event happen, and returns what is wrong with the outcome.
func (w *world) happen(e event) error {
	before := *w
	switch e {
	case eventCommitted, eventOrphaned:
		w.predecessor = false
	case eventSuccessorReady:
		w.successor = "ready"
	case eventSuccessorGone:
		w.successor = ""
		w.dead = w.committed
		w.clock = false
	case eventProbationOver:
		w.clock = false
	case eventSignal:
		w.owed = true
	case eventDeserted:
		w.dead, w.successor = true, ""
	}
	answers := 0
	steps := w.m.handle(e, errCause)
	for _, s := range steps {
		if s.do == actSucceed || s.do == actFail || s.do == actRefuse {
			answers++
		}
		if err := w.act(e, s, len(steps)); err != nil {
			return err
		}
	}
	if answers > 1 {
		return errors.New("more than one answer")
	}
	return w.check(before, e, steps)
}

func (w *world) act(e event, s step, of int) error {
	must := func(ok bool, what string) error {
		if ok {
			return nil
		}
		return fmt.Errorf("%s: %s", actNames[s.do], what)
	}
	var err error
	switch s.do {
	case actOpen:
		err = must(w.gates == "", "the listeners were opened before")
		w.gates = "open"
	case actSayReady:
		err = must(!w.said && w.gates == "open" && !w.committed, "not now")
		w.said = true
	case actBecome:
		err = must(!w.main && !w.predecessor && !w.committed, "there is another main generation, or it was this one already")
		w.main = true
	case actStart:
		err = must(w.successor == "" && !w.committed && w.main && w.said && w.gates == "open", "not now")
		w.successor, w.owed = "started", false
	case actPause:
		err = must(w.gates == "open" && w.successor == "ready", "nobody would accept")
		w.gates = "paused"
	case actResume:
		err = must(w.gates == "paused", "they are not paused")
		w.gates = "open"
	case actProbation:
		err = must(w.successor == "ready" && w.gates == "paused", "there is no probation")
		w.clock = true
	case actCommit:
		first := e == eventProbationOver && w.main && !w.committed
		again := e == eventSuccessorReady && w.dead && w.kept
		err = must(w.successor == "ready" && !w.predecessor && (first || again), "not now")
		w.committed, w.main, w.dead = true, false, false
	case actEnd:
		w.clock = false
		err = must(w.successor != "" && (!w.committed || w.dead), "there is nobody to end")
	case actDismiss:
		w.clock = false
		err = must(w.successor == "ready" && !w.committed, "there is nobody to dismiss")
	case actSucceed:
		err = must(w.committed, "it has not")
		w.asked = false
	case actFail:
		err = must(!w.committed && s.err != nil, "it has not")
		w.asked = false
	case actRefuse:
		err = must((e == eventUpgrade || e == eventReady) && s.err != nil && of == 1, "nobody asked")
	case actForward:
		err = must(w.committed && w.owed, "nobody to forward to, or nothing to forward")
		w.owed = false
	case actDrain:
		err = must(w.gates != "closed", "a second time")
		w.gates = "closed"
		w.m.spare = w.readopts && w.m.phase == phaseDraining
		w.kept = w.m.spare
	case actRevive:
		err = must(w.dead && w.kept && w.successor == "", "not now")
		w.successor = "started"
	case actForsake:
		err = must(w.dead, "there is a main generation")
		w.owed = false // nobody is left who could
	case actRelease:
		err = must(w.kept, "nothing is kept")
		w.kept = false
	case actHurry:
		err = must(w.gates == "closed", "not draining")
	}
	return err
}

// check holds what must be true after each event.
func (w *world) check(before world, e event, steps []step) error {
	stopping := w.m.phase == phaseStopping
	if stopping {
		w.owed = false
	}
	accepted := false
	if e == eventUpgrade {
		accepted = slices.Contains(steps, step{do: actStart})
		refused := len(steps) == 1 && steps[0].do == actRefuse
		if accepted == refused || before.asked && accepted {
			return errors.New("a call of Upgrade must be refused or begin an upgrade, and only one")
		}
		w.asked = w.asked || accepted
	}
	idle := w.successor == "" && w.gates == "open"
	draining, reviving := w.m.phase == phaseDraining, w.m.phase == phaseReviving
	switch {
	case w.said && !stopping && !w.dead && w.gates != "open" && w.successor != "ready":
		return errors.New("nobody accepts")
	case !w.said && w.gates == "open" && !stopping:
		return errors.New("accepting without a word")
	case w.asked && (stopping || w.committed || idle):
		return errors.New("a call of Upgrade has got no answer")
	case w.owed && !w.m.wanted:
		return errors.New("the wish for an upgrade is forgotten")
	case w.owed && (draining || idle && w.main):
		return errors.New("the wish for an upgrade is not honoured though it could be")
	case w.committed != (draining || reviving):
		return errors.New("after the commit there is nothing but the drain")
	case w.kept != (w.m.spare || reviving):
		return errors.New("sockets are kept for nothing, or closed too early")
	}
	return nil
}

// TestNoOrderOfEventsBreaksAPromise goes through every order of events in
// which a generation can live, of any length: the worlds are finite, and each is
// gone on from once. It fails with the shortest order that breaks a promise.
func TestNoOrderOfEventsBreaksAPromise(t *testing.T) {
	type visit struct {
		w    world
		path []event
	}
	var queue []visit
	for _, is := range [][2]bool{{false, false}, {true, false}, {false, true}, {true, true}} {
		successor, readopts := is[0], is[1]
		queue = append(queue, visit{w: world{m: machine{awaiting: successor}, predecessor: successor, readopts: readopts}})
	}
	seen := map[world]bool{}
	phases := map[phase]bool{}
	for len(queue) > 0 {
		v := queue[0]
		queue = queue[1:]
		phases[v.w.m.phase] = true
		for e := eventReady; e <= eventReleased; e++ {
			if !v.w.can(e) {
				continue
			}
			next := visit{v.w, append(slices.Clip(v.path), e)}
			if err := next.w.happen(e); err != nil {
				order := make([]string, len(next.path))
				for i, e := range next.path {
					order[i] = eventNames[e]
				}
				t.Fatalf("after %s: %v\nbefore: %+v\nafter: %+v", strings.Join(order, ", "), err, v.w, next.w)
			}
			if !seen[next.w] {
				seen[next.w] = true
				queue = append(queue, next)
			}
		}
	}
	if len(phases) != int(phaseReviving)+1 {
		t.Errorf("the walk came to the phases %v only", phases)
	}
	t.Logf("%d worlds", len(seen))
}

// TestAWantedUpgradeIsHonouredInTheEnd lets the world go on kindly, and unkindly,
// from wherever a signal may come.
func TestAWantedUpgradeIsHonouredInTheEnd(t *testing.T) {
	for _, goesOn := range [][]event{
		{eventReady, eventCommitted, eventSuccessorReady, eventProbationOver},
		{eventReady, eventOrphaned, eventSuccessorFailed, eventSuccessorGone},
	} {
		for at := 0; at <= 8; at++ {
			w := world{m: machine{awaiting: true}, predecessor: true}
			for i := range 24 {
				if i == at {
					if err := w.happen(eventSignal); err != nil {
						t.Fatal(err)
					}
				}
				if e := goesOn[i%len(goesOn)]; w.can(e) {
					if err := w.happen(e); err != nil {
						t.Fatal(err)
					}
				}
			}
			if w.owed {
				t.Errorf("a signal at moment %d of %v led to no upgrade: %+v", at, goesOn, w)
			}
		}
	}
}
