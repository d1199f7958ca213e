package handoff

import (
	"errors"
	"fmt"
)

// This file is what the loop does around the machine, function by function. The
// machine itself is the production code's.

// handler is machine.handle, or a mutant of it.
type handler func(*machine, event, error) []step

// rules are the machine that is driven, and what of the loop's code a mutant may
// leave out.
type rules struct {
	handle handler

	ignoresDeadSuccessor bool // appoint doesn't look whether the successor takes it
	trustsStrangers      bool // appoint takes a successor that is dead, and whose hello wasn't read, for another program
	hastens              bool // appoint doesn't wait until the manager has read who takes over
	stopsInSilence       bool // a generation that isn't main yet doesn't say that it stops
	keepsHeir            bool // a generation has its heir while it upgrades, too
	ignoresHeir          bool // deserted readopts without being the heir
	forwardsNotes        bool // noted passes on what it hears after the commit as well
	adoptsLate           bool // lost adopts only a service that is idle
}

// sim is a world in motion.
type sim struct {
	simWorld
	rules  rules
	fuse   int      // after how many more effects the acting process is killed; 0: never
	blown  bool     // it was
	count  int      // effects of this event
	trace  bool     // fill said
	said   []string // what was done, in words
	broken *breach
}

// breach is a property that does not hold.
type breach struct{ property, how string }

func (s *sim) breaks(property, format string, args ...any) {
	if s.broken == nil {
		s.broken = &breach{property, fmt.Sprintf(format, args...)}
	}
}

func (s *sim) say(format string, args ...any) {
	if s.trace && !s.blown {
		s.said = append(s.said, fmt.Sprintf(format, args...))
	}
}

// effect is before each thing that another process can notice. It is false if the
// process was killed before.
func (s *sim) effect() bool {
	if s.blown {
		return false
	}
	s.count++
	if s.fuse > 0 && s.count > s.fuse {
		s.blown = true
		return false
	}
	return true
}

var errSim = errors.New("a cause")

// handle is Upgrader.handle. call is true for a call of Upgrade.
func (s *sim) handle(p place, e event, cause error, call bool) {
	e, cause, wait := s.prepare(p, e, cause)
	if s.blown || wait {
		return
	}
	g := &s.gens[p]
	was := g.m.phase
	steps := s.rules.handle(&g.m, e, cause)
	if call && g.m.phase == phaseUpgrading && was == phaseServing {
		g.asked, call = true, false
	}
	for _, st := range steps {
		if st.do == actRefuse {
			s.say("refuses")
			return // answered
		}
		s.perform(p, st)
	}
	if call {
		s.breaks(propAnswer, "%v answers a call of Upgrade with success, and has not begun one", p)
	}
}

// prepare is Upgrader.prepare. Where that waits, wait is true, and hapSettled calls
// it again.
func (s *sim) prepare(p place, e event, cause error) (_ event, _ error, wait bool) {
	g := &s.gens[p]
	switch {
	case e == eventReady && g.m.phase == phaseStarting && !g.m.awaiting:
		s.namePID(p)
	case e == eventProbationOver && g.m.phase == phaseProbation, e == eventSuccessorReady && g.m.phase == phaseReviving:
		if !g.settled {
			s.propose(p)
			if s.blown || g.settling {
				return e, cause, true
			}
		}
		g.settled = false
		if !s.appoint(p) {
			return eventSuccessorFailed, errSim, false
		}
	}
	return e, cause, false
}

func (s *sim) namePID(p place) {
	if s.effect() {
		s.pidFile = p
	}
}

// propose is the first half of Upgrader.appoint: the manager is told, and the loop
// waits until it has read that.
func (s *sim) propose(p place) {
	g := &s.gens[p]
	s.namePID(g.successor)
	s.tellManager(p, wordPerson+word(g.successor))
	if s.manager.owes(p) && !s.rules.hastens {
		g.settling, g.settled = true, true
	}
}

// appoint is the second half of Upgrader.appoint: the successor is told.
func (s *sim) appoint(p place) bool {
	to := s.gens[p].successor
	c := &s.kids[to]
	if c.holder != nobody {
		s.handOver(p)
		s.send(to, wordCommit)
		return true
	}
	if s.rules.ignoresDeadSuccessor || s.rules.trustsStrangers && !c.linked {
		s.handOver(p)
		return true
	}
	// The end of the file says that it is dead.
	s.say("finds %v dead", to)
	if s.gens[p].m.phase == phaseReviving {
		return false
	}
	s.tellManager(p, wordPerson+word(p))
	s.namePID(p)
	return false
}

// handOver notes, for the properties, the point of no return.
func (s *sim) handOver(p place) {
	if s.blown {
		return
	}
	to := s.gens[p].successor
	if !s.kids[to].ready || !s.gens[p].probed {
		s.breaks(propProbation, "%v commits to %v, which has not lived through its probation", p, to)
	}
	s.kids[to].committed = true
	s.gens[p].handed = true
	if s.alive(to) {
		s.take(to)
	}
}

// take notes who is the main generation.
func (s *sim) take(p place) {
	s.office, s.owes = p, nobody
	if s.gens[p].told {
		s.stop = true
	}
}

// perform is Upgrader.perform.
func (s *sim) perform(p place, st step) {
	g := &s.gens[p]
	switch st.do {
	case actOpen:
		s.say("accepts")
		g.gates = gatesAccepting
	case actSayReady:
		s.ready = true
		s.sayReady(p)
	case actBecome:
		s.become(p)
	case actStart:
		s.start(p)
	case actPause:
		s.say("pauses")
		g.clock, g.gates = noClock, gatesPaused
	case actResume:
		s.say("accepts again")
		g.clock, g.gates = noClock, gatesAccepting
	case actProbation:
		g.clock, g.probed = probationClock, false
	case actCommit:
		s.commit(p)
	case actEnd:
		g.clock = noClock
		s.terminate(p, g.successor)
	case actDismiss:
		g.clock = noClock
		s.terminated(g.successor)
	case actSucceed:
		if !g.asked {
			break
		}
		g.asked = false
		if !s.blown && !s.kids[g.successor].committed {
			s.breaks(propAnswer, "%v answers with success, and has not handed over", p)
		}
	case actFail:
		s.fail(p)
	case actForward:
		s.forward(p)
	case actDrain:
		s.drain(p)
	case actHurry: // a drain may end at any time here
	case actRevive:
		s.revive(p)
	case actForsake:
		s.say("gives the service up")
		g.clock, s.owed, s.owes = noClock, false, nobody
	case actRelease:
		if !s.blown {
			s.releaseSpare(p, false)
		}
	}
}

// tellManager is Upgrader.tellManager. READY=1 comes with MAINPID=.
func (s *sim) tellManager(p place, w word) {
	switch g := &s.gens[p]; {
	case s.blown:
		return
	case g.awaits:
		s.breaks(propSilence, "%v speaks to the manager, and its predecessor is the main generation", p)
	case g.handed:
		s.breaks(propSilence, "%v speaks to the manager after it has handed over", p)
	}
	if !s.effect() {
		return
	}
	if s.manager.hears == hearsNobody || s.manager.over {
		return
	}
	s.say("tells the manager %s", managerWord(w))
	s.manager.hear(p, w)
}

func managerWord(w word) string {
	switch w {
	case wordReady:
		return "READY=1"
	case wordStopping:
		return "STOPPING=1"
	case wordReloading:
		return "RELOADING=1"
	case wordNote:
		return "a note"
	}
	return "MAINPID=" + place(w-wordPerson).String()
}

// send is a message over the link to k, which goes to who holds its other end.
func (s *sim) send(k place, w word) {
	c := &s.kids[k]
	if !s.effect() || c.holder == nobody {
		return
	}
	c.link.push(w)
}

// sayReady is Upgrader.sayReady.
func (s *sim) sayReady(p place) {
	c := &s.kids[p]
	switch {
	case s.gens[p].awaits:
		if s.effect() && s.alive(c.parent) {
			s.say("tells %v that it is ready", c.parent)
			c.datagrams.push(wordReady)
		}
	case c.parent != nobody:
		s.tellManager(p, wordPerson+word(p))
	default:
		s.tellManager(p, wordReady)
	}
}

// become is Upgrader.become.
func (s *sim) become(p place) {
	if s.blown {
		return
	}
	s.say("is the main generation")
	s.gens[p].main = true
	s.take(p)
	if s.gens[p].m.phase == phaseStopping {
		s.tellManager(p, wordStopping)
	}
}

// start is Upgrader.start, with watch and launch: the process is born at once, and
// its pid is noticed later.
func (s *sim) start(p place) {
	if s.blown {
		return
	}
	s.owed = false
	s.tellManager(p, wordReloading)
	if !s.rules.keepsHeir {
		s.appointHeir(p)
	}
	s.launch(p)
}

// launch is Upgrader.follow.
func (s *sim) launch(p place) {
	if int(s.births) == maxGenerations {
		s.say("cannot start another")
		s.gens[p].successor = nobody
		s.handle(p, eventSuccessorGone, errSim, false)
		return
	}
	if !s.effect() {
		return
	}
	k := place(s.births)
	s.births++
	s.say("starts %v", k)
	s.gens[k] = simGeneration{life: born, successor: nobody, heir: nobody}
	s.kids[k] = simChild{parent: p, holder: k}
	s.gens[p].successor, s.gens[p].clock = k, readyClock
}

// fail is Upgrader.fail.
func (s *sim) fail(p place) {
	g := &s.gens[p]
	g.clock = noClock
	s.say("the upgrade has failed")
	if g.m.phase == phaseServing {
		s.tellManager(p, wordReady)
		if k := g.successor; k != nobody {
			s.kids[k].shut = true
		}
		g.successor = nobody
		s.appointHeir(p)
	}
	g.asked = false
}

// terminate is successor.terminate.
func (s *sim) terminate(p, k place) {
	if k == nobody || s.blown {
		return
	}
	c := &s.kids[k]
	if !c.pid {
		s.say("will end %v once it runs", k)
		c.doomed = true
		return
	}
	c.ending = true
	s.terminated(k)
}

// terminated sends a SIGTERM.
func (s *sim) terminated(k place) {
	if s.effect() && s.alive(k) {
		s.say("sends SIGTERM to %v", k)
		s.gens[k].term = true
	}
}

// commit is Upgrader.commit.
func (s *sim) commit(p place) {
	g := &s.gens[p]
	if !s.blown && !s.kids[g.successor].committed {
		s.breaks(propProbation, "%v commits without having told %v", p, g.successor)
	}
	s.say("hands over to %v", g.successor)
	g.clock, g.main = noClock, false
	for k := range place(maxGenerations) {
		if g.spare&(1<<k) != 0 {
			s.introduce(p, k)
		}
	}
	elders := g.elders
	g.elders, g.heir = 0, nobody
	for k := range place(maxGenerations) {
		if elders&(1<<k) != 0 {
			s.passOn(p, k)
		}
	}
}

// passOn is Upgrader.passOn, of the link k.
func (s *sim) passOn(p, k place) {
	if s.gens[p].m.phase != phaseReviving {
		s.introduce(p, k)
	}
	if s.readopt && !s.blown {
		s.gens[p].spare |= 1 << k
	}
}

// introduce is Upgrader.introduce.
func (s *sim) introduce(p, k place) {
	to := s.gens[p].successor
	if !s.effect() {
		return
	}
	if c := &s.kids[to]; c.holder == nobody {
		s.lose(k, c.cut)
		return
	}
	s.kids[k].holder = inFlight
	s.kids[to].link.push(wordPerson + word(k))
}

// forward is Upgrader.forward.
func (s *sim) forward(p place) {
	to := s.gens[p].successor
	if s.kids[to].doomed || s.kids[to].ending {
		s.owed = false // nobody is there who could
		return
	}
	if s.kids[to].holder == nobody && s.kids[to].cut {
		s.owed = false // who should is dead, by a kill
	}
	s.send(to, wordUpgrade)
	s.say("asks the newest to upgrade")
}

// drain is Upgrader.drain.
func (s *sim) drain(p place) {
	g := &s.gens[p]
	s.say("drains")
	if g.m.phase != phaseDraining {
		if g.main {
			s.tellManager(p, wordStopping)
			for k := range place(maxGenerations) {
				if g.elders&(1<<k) != 0 {
					s.reply(k, wordHurry)
				}
			}
		}
		if g.awaits && !s.rules.stopsInSilence {
			if c := &s.kids[p]; s.effect() && s.alive(c.parent) {
				s.say("tells %v that it stops", c.parent)
				c.datagrams.push(wordStopping)
			}
		}
	}
	g.m.spare = g.m.phase == phaseDraining && s.readopt
	g.gates = gatesClosed
}

// noted is Upgrader.noted, of a datagram of k.
func (s *sim) noted(p, k place, w word) {
	g := &s.gens[p]
	if g.successor != k {
		return
	}
	switch w {
	case wordNote:
		if g.m.phase != phaseDraining || s.rules.forwardsNotes {
			s.tellManager(p, wordNote)
		}
	case wordReady:
		if g.m.phase == phaseUpgrading || g.m.phase == phaseReviving {
			s.kids[k].ready = true
			s.handle(p, eventSuccessorReady, nil, false)
		}
	case wordStopping:
		if g.m.phase == phaseDraining {
			s.handle(p, eventReleased, nil, false)
			return
		}
		s.handle(p, eventSuccessorFailed, errSim, false)
	}
}

// heard is Upgrader.told, of a message on the link k.
func (s *sim) heard(p, k place, w word) {
	g := &s.gens[p]
	switch {
	case w == wordCommit && g.awaits && k == p:
		g.awaits = false
		s.addElder(p, k)
		if s.readopt {
			g.heir = k
		}
		s.handle(p, eventCommitted, nil, false)
	case w >= wordPerson:
		e := place(w - wordPerson)
		s.kids[e].holder = p
		s.addElder(p, e)
	case w == wordUpgrade:
		s.handle(p, eventSignal, nil, false)
	case w == wordLeaving:
		s.letGo(p, k)
	}
}

// addElder is Upgrader.addElder.
func (s *sim) addElder(p, k place) {
	g := &s.gens[p]
	if g.m.phase == phaseDraining || g.m.phase == phaseReviving {
		s.passOn(p, k)
		return
	}
	g.elders |= 1 << k
	if g.m.phase == phaseStopping {
		s.reply(k, wordHurry)
		return
	}
	s.appointHeir(p)
}

// lost is Upgrader.lost, of the link k.
func (s *sim) lost(p, k place) {
	g := &s.gens[p]
	s.kids[k].holder = nobody
	if g.awaits && k == p {
		g.awaits = false
		adopts := g.m.phase == phaseServing
		if adopts && !s.rules.adoptsLate {
			s.adopt(p)
		}
		s.handle(p, eventOrphaned, nil, false)
		if g.m.phase == phaseServing && s.rules.adoptsLate {
			s.adopt(p)
		}
		return
	}
	g.elders &^= 1 << k
	g.leaving &^= 1 << k
	if g.heir == k {
		g.heir = nobody
	}
	s.appointHeir(p)
}

// adopt is Upgrader.adopt.
func (s *sim) adopt(p place) {
	s.namePID(p)
	s.tellManager(p, wordPerson+word(p))
}
