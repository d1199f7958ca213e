package handoff

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// search goes through all worlds that can come of some beginnings, the nearest
// first.
type search struct {
	rules  rules
	seen   map[simWorld]int32
	worlds []simWorld
	from   []arrival
	then   [][]int32 // by itself, without anything from outside
}

// arrival is how a world was reached first.
type arrival struct {
	parent int32
	by     occasion
}

// finding is a property that does not hold, and the shortest way there.
type finding struct {
	breach
	trace []string
}

func (f finding) String() string {
	return fmt.Sprintf("property %q: %s\n\t%s", f.property, f.how, strings.Join(f.trace, "\n\t"))
}

// run returns the first breach, or nil when there is none.
func (x *search) run(beginnings ...simWorld) *finding {
	x.seen = map[simWorld]int32{}
	for _, w := range beginnings {
		x.reach(w, -1, occasion{})
	}
	var list []occasion
	for i := 0; i < len(x.worlds); i++ {
		list = x.worlds[i].occasions(list[:0])
		quiet, end := true, true
		for _, o := range list {
			outside, slow := o.what.class()
			end = end && outside
			quiet = quiet && (outside || slow)
		}
		s := sim{simWorld: x.worlds[i], rules: x.rules}
		if quiet {
			s.checkQuiet()
		}
		if end {
			s.checkEnd()
		}
		if s.broken != nil {
			return &finding{*s.broken, x.trace(int32(i))}
		}
		for _, o := range list {
			effects, f := x.step(int32(i), o)
			// A kill in the midst leaves the first of them done.
			for fuse := int8(1); f == nil && int(fuse) < effects; fuse++ {
				o.fuse = fuse
				_, f = x.step(int32(i), o)
			}
			if f != nil {
				return f
			}
		}
	}
	return nil
}

// step lets o happen in world i, and returns how many effects may be broken off by
// a kill.
func (x *search) step(i int32, o occasion) (effects int, f *finding) {
	s := sim{simWorld: x.worlds[i], rules: x.rules}
	s.happen(o)
	if s.broken != nil {
		return 0, &finding{*s.broken, append(x.trace(i), x.tell(i, o))}
	}
	j := x.reach(s.simWorld, i, o)
	if outside, _ := o.what.class(); !outside && o.fuse == 0 {
		x.then[i] = append(x.then[i], j)
	}
	if o.who < 0 || x.worlds[i].left.kills == 0 || x.worlds[i].left.all == 0 || o.what == hapExit || o.what == hapKill {
		return 0, nil
	}
	if x.worlds[i].left.all == 1 {
		if outside, _ := o.what.class(); outside {
			return 0, nil
		}
	}
	return s.count, nil
}

func (x *search) reach(w simWorld, parent int32, by occasion) int32 {
	if i, ok := x.seen[w]; ok {
		return i
	}
	i := int32(len(x.worlds))
	x.seen[w] = i
	x.worlds = append(x.worlds, w)
	x.from = append(x.from, arrival{parent, by})
	x.then = append(x.then, nil)
	return i
}

// trace returns the way to world i in words.
func (x *search) trace(i int32) []string {
	var lines []string
	for ; x.from[i].parent >= 0; i = x.from[i].parent {
		lines = append(lines, x.tell(x.from[i].parent, x.from[i].by))
	}
	slices.Reverse(lines)
	return lines
}

func (x *search) tell(i int32, o occasion) string {
	s := sim{simWorld: x.worlds[i], rules: x.rules, trace: true}
	s.happen(o)
	line := o.String()
	if len(s.said) > 0 {
		line += ": " + strings.Join(s.said, ", ")
	}
	return line
}

// endless returns whether the worlds can go round in circles without anything
// from outside. If they can't, everything comes to an end that checkEnd has seen.
func (x *search) endless() bool {
	before := make([]int32, len(x.worlds))
	for _, then := range x.then {
		for _, j := range then {
			before[j]++
		}
	}
	var free []int32
	for i, n := range before {
		if n == 0 {
			free = append(free, int32(i))
		}
	}
	done := 0
	for ; len(free) > 0; done++ {
		i := free[len(free)-1]
		free = free[:len(free)-1]
		for _, j := range x.then[i] {
			if before[j]--; before[j] == 0 {
				free = append(free, j)
			}
		}
	}
	return done < len(x.worlds)
}

var production = rules{handle: (*machine).handle}

// everyManager are the beginnings: a service without a manager, and under one that
// listens to its main process or to all.
func everyManager(left budget) []simWorld {
	var worlds []simWorld
	for _, h := range []hears{hearsNobody, hearsMain, hearsAll} {
		worlds = append(worlds, newSimWorld(h, left))
	}
	return worlds
}

// readopting is the beginning of a service with Options.Readopt, for which a manager
// that sees its main process die leaves little to do.
func readopting(h hears, left budget) simWorld {
	w := newSimWorld(h, left)
	w.readopt = true
	return w
}

// threeThings lets any three things happen from outside, with two signals, one stop
// and one kill at most.
var threeThings = budget{all: 3, signals: 2, stops: 1, kills: 1, calls: 1, faults: 1}

// twoKills lets four things happen, of fewer kinds, and more processes die.
var twoKills = budget{all: 4, signals: 2, stops: 1, kills: 2}

func TestNoOrderOfWhatHappensToThreeGenerationsBreaksAProperty(t *testing.T) {
	t.Parallel()
	long := os.Getenv("HANDOFF_TEST_LONG") == "1"
	budgets := []budget{threeThings, twoKills}
	if testing.Short() || raceEnabled {
		budgets = []budget{{all: 2, signals: 2, stops: 1, kills: 1, calls: 1, faults: 1}}
	}
	for _, left := range budgets {
		worlds := everyManager(left)
		switch {
		case long:
			worlds = append(worlds, readopting(hearsMain, left), readopting(hearsAll, left), readopting(hearsNobody, left))
		case left.kills == 1:
			worlds = append(worlds, readopting(hearsNobody, left))
		}
		for _, w := range worlds {
			t.Run(fmt.Sprintf("%d things, %v, readopt=%v", left.all, w.manager.hears, w.readopt), func(t *testing.T) {
				t.Parallel()
				begin := time.Now()
				x := search{rules: production}
				if f := x.run(w); f != nil {
					t.Fatal(f)
				}
				if x.endless() {
					t.Error("the generations can go round in circles for ever")
				}
				t.Logf("%d worlds in %v", len(x.worlds), time.Since(begin).Round(time.Millisecond))
			})
		}
	}
}

// mutants are faults that somebody might make, each with the property that has to
// tell of it.
var mutants = []struct {
	fault    string
	property string
	rules    rules
	readopt  bool
}{
	{"it pauses before the successor is ready", propAccepts, rules{handle: after(actStart, actPause)}, false},
	{"it commits before the probation ends", propProbation, rules{handle: func(m *machine, e event, cause error) []step {
		if e == eventSuccessorReady && m.phase == phaseUpgrading {
			m.phase = phaseDraining
			return do(actPause, actCommit, actSucceed, actDrain)
		}
		return m.handle(e, cause)
	}}, false},
	{"it says STOPPING=1 after the commit", propSilence, rules{handle: func(m *machine, e event, cause error) []step {
		steps := m.handle(e, cause)
		if e == eventProbationOver && m.phase == phaseDraining {
			m.phase = phaseStopping
			return do(actDrain, actCommit, actSucceed)
		}
		return steps
	}}, false},
	{"it forgets to resume when the successor dies in its probation", propAccepts, rules{handle: without(actResume, eventSuccessorGone)}, false},
	{"it forgets to resume when the successor fails its probation", propAccepts, rules{handle: without(actResume, eventSuccessorFailed)}, false},
	{"it starts a second successor", propOne, rules{handle: func(m *machine, e event, cause error) []step {
		if e == eventSignal && m.phase == phaseUpgrading {
			return do(actStart)
		}
		return m.handle(e, cause)
	}}, false},
	{"a successor is the main generation when it is ready", propMain, rules{handle: func(m *machine, e event, cause error) []step {
		if e == eventReady {
			m.awaiting = false
		}
		return m.handle(e, cause)
	}}, false},
	{"an orphan does not become the main generation", propMain, rules{handle: without(actBecome, eventOrphaned)}, false},
	{"a signal in the probation is forgotten at the commit", propSignal, rules{handle: without(actForward, eventProbationOver)}, false},
	{"a signal during an upgrade is forgotten when that fails", propSignal, rules{handle: func(m *machine, e event, cause error) []step {
		if e == eventSuccessorGone {
			m.wanted = false
		}
		return m.handle(e, cause)
	}}, false},
	{"a generation that drains keeps a signal to itself", propSignal, rules{handle: without(actForward, eventSignal)}, false},
	{"a call has no answer when the upgrade fails", propAnswer, rules{handle: without(actFail, eventSuccessorGone)}, false},
	{"a call during an upgrade is not refused", propAnswer, rules{handle: without(actRefuse, eventUpgrade)}, false},
	{"a stop leaves the successor alone", propStop, rules{handle: without(actEnd, eventStop)}, false},

	// And of the code around the machine.
	{"it commits to a successor that is dead", propAccepts, rules{ignoresDeadSuccessor: true}, false},
	{"it takes a dead successor that was not heard of for another program", propAccepts, rules{trustsStrangers: true}, false},
	{"it commits before the manager knows", propMainPID, rules{hastens: true}, false},
	{"a successor that stops does not say so", propAccepts, rules{stopsInSilence: true}, false},
	{"it passes on a notification after the commit", propSilence, rules{forwardsNotes: true}, false},
	{"an orphan that is to upgrade does not name itself", propMainPID, rules{adoptsLate: true}, false},

	// And of Options.Readopt.
	{"an heir does nothing", propAccepts, rules{handle: func(m *machine, e event, cause error) []step {
		if e == eventDeserted {
			e = eventReleased
		}
		return m.handle(e, cause)
	}}, true},
	{"a generation that is to hurry keeps its sockets", propStop, rules{handle: func(m *machine, e event, cause error) []step {
		if e == eventReleased {
			return nil
		}
		return m.handle(e, cause)
	}}, true},
	{"a generation has its heir while it upgrades", propMain, rules{keepsHeir: true}, true},
	{"one that is not the heir readopts", propMain, rules{ignoresHeir: true}, true},
}

// without is the machine that leaves out an action at an event.
func without(a action, at event) handler {
	return func(m *machine, e event, cause error) []step {
		steps := m.handle(e, cause)
		if e == at {
			steps = slices.DeleteFunc(steps, func(s step) bool { return s.do == a })
		}
		return steps
	}
}

// after is the machine that does one action more after another.
func after(a, more action) handler {
	return func(m *machine, e event, cause error) []step {
		var steps []step
		for _, s := range m.handle(e, cause) {
			steps = append(steps, s)
			if s.do == a {
				steps = append(steps, step{do: more})
			}
		}
		return steps
	}
}

func TestEachSeededFaultBreaksItsProperty(t *testing.T) {
	t.Parallel()
	for _, m := range mutants {
		t.Run(m.fault, func(t *testing.T) {
			t.Parallel()
			if m.rules.handle == nil {
				m.rules.handle = (*machine).handle
			}
			var f *finding
			left := threeThings
			for left.all = 1; left.all <= 3 && f == nil; left.all++ {
				if shallow := testing.Short() || raceEnabled; shallow && left.all == 3 {
					t.Skip("this fault takes more worlds than the short search has")
				}
				x := search{rules: m.rules}
				beginnings := everyManager(left)
				if m.readopt {
					beginnings = []simWorld{readopting(hearsNobody, left)}
				}
				f = x.run(beginnings...)
			}
			if f == nil {
				t.Fatal("the model finds nothing wrong")
			}
			t.Log(f)
			if f.property != m.property {
				t.Errorf("the property that doesn't hold is %q, not %q", f.property, m.property)
			}
		})
	}
}
