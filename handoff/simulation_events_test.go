package handoff

import "fmt"

// This file is the scheduler's: what can happen in a world, and that it happens.

type happening int8

const (
	// From outside, each within the budget.
	hapHangup  happening = iota // SIGHUP
	hapStop                     // SIGTERM
	hapStopAll                  // SIGTERM to every process, as systemctl stop sends it
	hapKill                     // SIGKILL, or a crash
	hapCall                     // a call of Upgrade
	hapGiveUp                   // the end of its context
	hapUnwell                   // the health check fails
	hapNote                     // the program sends a line by sd_notify that is not about readiness

	// At once, in any order.
	hapNew       // New meets the predecessor
	hapNewAlone  // New finds that the predecessor has died before its hello
	hapReady     // the program is ready
	hapPid       // the successor's pid is known
	hapHello     // the successor's hello is read
	hapDatagram  // a datagram of the successor is read
	hapLink      // a message of an older generation is read, or the end of its link
	hapGone      // the successor's end is noticed
	hapBack      // a message of the newest generation is read, or the end of its link
	hapTerm      // a SIGTERM arrives
	hapManager   // the manager reads a datagram
	hapSettled   // the manager has read what a generation waits for
	hapMainEnded // the manager notices the main process's end

	// In their time, which may be any.
	hapClock // a timeout
	hapExit  // a drain ends, and the process with it
	hapDone  // a drain ends, and the main generation is asked whether the process may
)

// class says who makes something happen, and when.
func (h happening) class() (outside, slow bool) { return h <= hapNote, h >= hapClock }

// occasion is something that can happen.
type occasion struct {
	what happening
	who  place
	from place // whose link or datagram
	fuse int8  // after how many effects who is killed in the midst of it; 0: it is not
}

// occasions appends what can happen in w to list.
func (w *simWorld) occasions(list []occasion) []occasion {
	add := func(ok bool, h happening, who, from place) {
		if ok {
			list = append(list, occasion{h, who, from, 0})
		}
	}
	if w.manager.over {
		return list
	}
	for p := range place(maxGenerations) {
		g, c := &w.gens[p], &w.kids[p]
		if g.life == unborn {
			break
		}
		if w.left.all > 0 {
			w.outside(p, add)
		}
		if g.life == born {
			alone := c.parent != nobody && !w.alive(c.parent)
			add(true, hapNew, p, nobody)
			add(alone, hapNewAlone, p, nobody)
			add(g.term, hapTerm, p, nobody)
		}
		if g.life != living {
			continue
		}
		if g.settling { // its loop waits
			add(!w.manager.owes(p) || !w.alive(g.successor), hapSettled, p, g.successor)
			continue
		}
		add(g.m.phase == phaseStarting, hapReady, p, nobody)
		add(g.term, hapTerm, p, nobody)
		add(g.clock != noClock && !g.term, hapClock, p, nobody)
		waits := g.m.spare || g.m.phase == phaseReviving
		add(g.gates == gatesClosed && !g.term && !w.unheard(p) && !waits, hapExit, p, nobody)
		add(g.m.spare && !g.term && !g.asks, hapDone, p, nobody)
		for k := range place(maxGenerations) {
			c := &w.kids[k]
			if c.parent == p && !c.gone {
				add(!c.pid, hapPid, p, k)
				add(c.pid && c.hello, hapHello, p, k)
				add(c.pid && c.datagrams[0] != wordNone, hapDatagram, p, k)
				add(c.pid && !w.alive(k), hapGone, p, k)
			}
			if c.parent == p && !c.hello && !c.shut {
				end := g.successor == k && g.m.spare && w.broken(k)
				add(c.back[0] != wordNone || end, hapBack, p, k)
			}
			if c.holder == p {
				add(c.link[0] != wordNone || c.shut || !w.alive(c.parent), hapLink, p, k)
			}
		}
	}
	m := &w.manager
	add(m.queue[0] != wordNone, hapManager, nobody, nobody)
	add(m.hears != hearsNobody && m.queue[0] == wordNone && !w.alive(m.main), hapMainEnded, nobody, nobody)
	return list
}

// unheard tells whether p has said to its predecessor that it stops, and that has
// not read it; see Upgrader.awaitWord.
func (w *simWorld) unheard(p place) bool {
	for _, said := range w.kids[p].datagrams {
		if said == wordStopping {
			return w.gens[p].awaits
		}
	}
	return false
}

// owes tells whether the manager has still to read something of p.
func (m *simManager) owes(p place) bool {
	for i, w := range m.queue {
		if w != wordNone && m.senders[i] == p {
			return true
		}
	}
	return false
}

func (w *simWorld) outside(p place, add func(bool, happening, place, place)) {
	g, l := &w.gens[p], &w.left
	here := g.life == living && !g.settling
	add(here && l.signals > 0, hapHangup, p, nobody)
	add(here && l.stops > 0, hapStop, p, nobody)
	add(p == 0 && l.stops > 0, hapStopAll, nobody, nobody)
	add(w.alive(p) && l.kills > 0, hapKill, p, nobody)
	add(here && l.calls > 0, hapCall, p, nobody)
	add(here && l.faults > 0 && g.asked, hapGiveUp, p, nobody)
	add(here && l.faults > 0 && g.m.phase == phaseProbation, hapUnwell, p, nobody)
	add(here && l.faults > 0 && g.awaits && w.alive(w.kids[p].parent), hapNote, p, nobody)
}

// happen lets o happen.
func (s *sim) happen(o occasion) {
	s.fuse, s.blown, s.count = int(o.fuse), false, 0
	s.spend(o)
	wished := s.carried() || o.what == hapHangup
	s.do(o)
	if s.blown {
		s.blown = false
		s.say("is killed in the midst of it")
		s.bury(o.who, killed)
		if wished && !s.carried() {
			s.owed = false
		}
	}
	if s.broken == nil {
		s.check()
	}
}

func (s *sim) spend(o occasion) {
	l := &s.left
	switch o.what {
	case hapHangup:
		l.signals--
	case hapStop, hapStopAll:
		l.stops--
	case hapKill:
		l.kills--
	case hapCall:
		l.calls--
	case hapGiveUp, hapUnwell, hapNote:
		l.faults--
	}
	if outside, _ := o.what.class(); outside {
		l.all--
	}
	if o.fuse > 0 {
		l.kills--
		l.all--
	}
}

func (s *sim) do(o occasion) {
	p := o.who
	switch o.what {
	case hapHangup:
		s.owed = s.owed || s.gens[p].m.phase != phaseStopping
		s.handle(p, eventSignal, nil, false)
	case hapStop, hapTerm:
		s.stopped(p)
	case hapStopAll:
		for q := range place(maxGenerations) {
			if s.alive(q) {
				s.gens[q].term = true
			}
		}
	case hapKill:
		s.bury(p, killed)
	case hapCall:
		s.handle(p, eventUpgrade, nil, true)
	case hapGiveUp, hapUnwell:
		s.handle(p, eventSuccessorFailed, errSim, false)
	case hapNote:
		s.kids[p].datagrams.push(wordNote)
	case hapNew, hapNewAlone:
		s.open(p, o.what == hapNew)
	case hapReady:
		s.handle(p, eventReady, nil, false)
	case hapPid:
		s.kids[o.from].pid = true
		if s.kids[o.from].doomed {
			s.terminate(p, o.from)
		}
	case hapHello:
		c := &s.kids[o.from]
		c.hello, c.linked, c.heir = false, true, s.readopt
	case hapDatagram:
		s.noted(p, o.from, s.kids[o.from].datagrams.pop())
	case hapLink:
		if s.kids[o.from].link[0] != wordNone {
			s.heard(p, o.from, s.kids[o.from].link.pop())
		} else {
			s.lost(p, o.from)
		}
	case hapGone:
		s.kids[o.from].gone = true
		if s.gens[p].successor == o.from {
			s.handle(p, eventSuccessorGone, errSim, false)
		}
	case hapBack:
		if s.kids[o.from].back[0] != wordNone {
			s.answered(p, o.from, s.kids[o.from].back.pop())
		} else {
			s.deserted(p, o.from)
		}
	case hapDone:
		s.decide(p)
	case hapManager:
		s.managerReads()
	case hapSettled:
		s.gens[p].settling = false
		e := eventProbationOver
		if s.gens[p].m.phase == phaseReviving {
			e = eventSuccessorReady
		}
		s.handle(p, e, nil, false)
	case hapMainEnded:
		s.mainEnded()
	case hapClock:
		s.rings(p)
	case hapExit:
		s.exit(p)
	}
}

// open is New, with meetPredecessor.
func (s *sim) open(p place, met bool) {
	g, c := &s.gens[p], &s.kids[p]
	g.life = living
	if c.parent == nobody {
		return
	}
	if met {
		g.m.awaiting, g.awaits, g.gates = true, true, gatesPaused
		c.hello = s.alive(c.parent)
		return
	}
	c.holder = nobody
}

// stopped is a stop signal's arrival.
func (s *sim) stopped(p place) {
	g := &s.gens[p]
	g.term, g.told = false, true
	if s.owes == p {
		s.owes = nobody
	}
	s.stop = s.stop || p == s.office
	if g.life == born {
		s.bury(p, ended) // nobody has asked for the signal yet
		return
	}
	carried := s.carried()
	s.handle(p, eventStop, nil, false)
	if p == s.office || carried && !s.carried() {
		s.owed = false // the wish ends with the service, or with whom it was told to
	}
}

// rings is the end of a timeout: of awaitReady, or of startProbation.
func (s *sim) rings(p place) {
	g := &s.gens[p]
	c := g.clock
	g.clock = noClock
	if c == readyClock {
		s.handle(p, eventSuccessorFailed, ErrTimeout, false)
		return
	}
	g.probed = true
	s.handle(p, eventProbationOver, nil, false)
}

// exit is Upgrader.Close, with finish and successor.release, and the end of the
// process. Where release waits, this waits no longer than patience.
func (s *sim) exit(p place) {
	g := &s.gens[p]
	if g.asked {
		s.breaks(propAnswer, "%v ends, and a call of Upgrade has got no answer", p)
	}
	if k := g.successor; k != nobody && (s.kids[k].doomed || s.kids[k].ending) && s.alive(k) {
		s.say("kills %v", k)
		s.bury(k, ended)
	}
	s.disinherit(p)
	if s.blown {
		return
	}
	s.bury(p, exited)
}

func (s *sim) managerReads() {
	m := &s.manager
	from := m.senders[0]
	copy(m.senders[:], m.senders[1:])
	m.senders[len(m.senders)-1] = 0
	w := m.queue.pop()
	if m.hears == hearsMain && from != m.main {
		s.say("does not listen to %v", from)
		return
	}
	switch w {
	case wordReady:
		m.reloading = false
	case wordReloading:
		m.reloading = true
	}
	if w >= wordPerson {
		m.reloading = false
		if q := place(w - wordPerson); s.alive(q) {
			m.main = q
			s.say("takes %v for the main process", q)
		}
	}
}

// mainEnded is when the manager sees the main process's end: it ends the rest, and
// starts anew after a failure.
func (s *sim) mainEnded() {
	if g := &s.gens[s.manager.main]; g.life != killed && !g.told && !s.excused() {
		s.breaks(propMainPID, "the manager takes the end of %v for the service's", s.manager.main)
	}
	s.say("ends the rest")
	s.manager.over = true
	for p := range place(maxGenerations) {
		if s.alive(p) {
			s.bury(p, ended)
		}
	}
}

func (o occasion) String() string {
	from := ""
	if o.from >= 0 {
		from = o.from.String()
	}
	who := o.who.String()
	switch o.what {
	case hapHangup:
		return who + " gets SIGHUP"
	case hapStop:
		return who + " gets SIGTERM"
	case hapStopAll:
		return "all get a SIGTERM, which is on its way"
	case hapKill:
		return who + " is killed"
	case hapCall:
		return who + " is called to upgrade"
	case hapGiveUp:
		return who + " is told by the caller to give up"
	case hapUnwell:
		return who + " finds its successor unwell"
	case hapNote:
		return who + " notifies of something"
	case hapNew:
		return who + " opens"
	case hapNewAlone:
		return who + " opens, alone"
	case hapReady:
		return who + " is ready"
	case hapPid:
		return who + " learns the pid of " + from
	case hapHello:
		return who + " reads the hello of " + from
	case hapDatagram:
		return who + " reads a datagram of " + from
	case hapLink:
		return who + " reads the link to " + fmt.Sprint(o.older())
	case hapGone:
		return who + " notices the end of " + from
	case hapBack:
		return who + " reads the link to its successor " + from
	case hapDone:
		return who + " has drained"
	case hapTerm:
		return "the SIGTERM reaches " + who
	case hapManager:
		return "the manager reads a datagram"
	case hapSettled:
		return who + " goes on with the hand-over"
	case hapMainEnded:
		return "the manager notices the end of the main process"
	case hapClock:
		return who + "'s clock rings"
	}
	return who + " exits"
}

// older is whose end the link that came with o.from is: the one before it, but for
// successors that failed in between.
func (o occasion) older() string { return "the predecessor of " + o.from.String() }
