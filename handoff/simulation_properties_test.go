package handoff

// The properties, by the names under which the model reports them.
const (
	propAccepts   = "1 somebody accepts"
	propOne       = "2 one upgrade at a time"
	propMain      = "3 one main generation"
	propMainPID   = "3 the manager knows it"
	propSilence   = "4 silence after the hand-over"
	propSignal    = "5 a signal is honoured"
	propAnswer    = "6 each call has an answer"
	propProbation = "7 no commit before the probation's end"
	propStop      = "8 a stop ends all"
)

// check holds what must be true in every world.
func (s *sim) check() {
	mains, upgrades := 0, 0
	for p := range place(maxGenerations) {
		g := &s.gens[p]
		if g.life != living {
			continue
		}
		if g.main {
			mains++
		}
		switch g.m.phase {
		case phaseUpgrading, phaseProbation, phaseAborting, phaseReviving:
			upgrades++
		}
		successors := 0
		for k := range place(maxGenerations) {
			if s.kids[k].parent == p && s.alive(k) && !s.kids[k].committed {
				successors++
			}
		}
		if successors > 1 {
			s.breaks(propOne, "%v has two successors", p)
		}
	}
	if upgrades > 1 {
		s.breaks(propOne, "two generations upgrade")
	}
	if mains > 1 {
		s.breaks(propMain, "there are two main generations")
	}
	holds := func(p place) bool {
		g := &s.gens[p]
		return s.alive(p) && (g.gates != gatesClosed || g.m.spare || g.m.phase == phaseReviving)
	}
	if s.ready && !s.excused() && !s.any(holds) {
		s.breaks(propAccepts, "nobody holds the listeners: what waits in the queue is reset")
	}
}

// checkQuiet holds what must be true when all messages and notices have arrived,
// and only timeouts and the ends of drains are to come.
func (s *sim) checkQuiet() {
	accepts := func(p place) bool { return s.alive(p) && s.gens[p].gates == gatesAccepting }
	if s.ready && !s.excused() && !s.any(accepts) {
		s.breaks(propAccepts, "nobody accepts, and nothing is on its way that would change that")
	}
}

// checkEnd holds what must be true when nothing more will happen by itself.
func (s *sim) checkEnd() {
	if s.manager.over {
		return
	}
	for p := range place(maxGenerations) {
		if s.gens[p].life == living && s.gens[p].asked {
			s.breaks(propAnswer, "a call of Upgrade waits for ever")
		}
	}
	if s.stop && s.any(s.alive) {
		s.breaks(propStop, "the service was told to stop, and somebody goes on")
	}
	if s.excused() {
		return
	}
	o := s.office
	switch g := &s.gens[o]; {
	case s.owed:
		s.breaks(propSignal, "an upgrade signal has led to nothing")
	case g.life != living || !g.main || g.m.phase != phaseServing:
		s.breaks(propMain, "nobody is the main generation")
	case s.pidFile != o:
		s.breaks(propMainPID, "the PID file names %v, and the main generation is %v", s.pidFile, o)
	case s.manager.hears != hearsNobody && s.manager.main != o:
		s.breaks(propMainPID, "MAINPID is %v, and the main generation is %v", s.manager.main, o)
	case s.manager.hears != hearsNobody && s.manager.reloading:
		s.breaks(propMainPID, "the manager waits for the end of a reload")
	}
}
