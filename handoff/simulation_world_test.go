package handoff

// This file is the world of the model: the generations, what is on its way
// between them, the service manager, and what is in somebody's way. It is a
// value, small and comparable, so that the search can tell a world that it has
// seen.

// maxGenerations is how many the world has room for. The start of one more
// fails, as it does when a program's file is missing.
const maxGenerations = 4

// place is the number of a generation, in the order of their starts.
type place int8

const (
	nobody   place = -1
	inFlight place = -2 // holder of a link that is in a message
)

var placeNames = [...]string{"old", "new", "third", "fourth"}

func (p place) String() string {
	if p < 0 {
		return "nobody"
	}
	return placeNames[p]
}

// life is what the kernel knows of a process.
type life int8

const (
	unborn life = iota
	born        // it runs, New has not returned
	living      // its loop runs
	exited      // by itself
	ended       // by its predecessor
	killed      // from outside
)

// gates are a generation's listeners.
type gates int8

const (
	gatesWaiting gates = iota // held, not accepting yet
	gatesAccepting
	gatesPaused
	gatesClosed
)

// clock is what a generation waits for with a timeout.
type clock int8

const (
	noClock clock = iota
	readyClock
	probationClock
)

// words are messages of a link (those above elder 0) and datagrams.
type word int8

const (
	wordNone word = iota
	wordReady
	wordStopping
	wordReloading
	wordNote // a line that is not about readiness: FDSTORE=1, STATUS=…
	wordCommit
	wordUpgrade
	wordHeir    // these go the other way: KindHeir, and its contrary
	wordNotHeir // …
	wordHurry
	wordLeaving           // a drain has ended
	wordPerson  word = 10 // + a place: MAINPID, or the link of an elder
)

// queue is what is on its way from one to another, in order.
type queue [8]word

func (q *queue) push(w word) {
	for i := range q {
		if q[i] == wordNone {
			q[i] = w
			return
		}
	}
	panic("a queue of the model is too short")
}

func (q *queue) pop() word {
	w := q[0]
	copy(q[:], q[1:])
	q[len(q)-1] = wordNone
	return w
}

// simGeneration is a process with its production machine, and what loop.go and
// family.go keep beside the machine, by the names that the fields have there.
type simGeneration struct {
	life  life
	m     machine
	gates gates

	main    bool  // Upgrader.main
	asked   bool  // Upgrader.answer: a call of Upgrade waits
	clock   clock // Upgrader.clock
	awaits  bool  // family.predecessor: of the link to who started this one
	elders  uint8 // family.elders: a set of links
	heir    place // family.heir: one of them
	leaving uint8 // those that have nothing left to do

	spare uint8 // spare.elders: a set of links
	asks  bool  // decide has asked whether it may go

	successor place // Upgrader.successor
	settling  bool  // it waits for the manager, see appoint
	settled   bool  // it has
	probed    bool  // the probation's clock has run out; for the properties only

	told   bool // a stop signal has reached its loop
	term   bool // a SIGTERM is on its way
	handed bool // it has told its successor that this has taken over
}

// simChild is a generation as who started it knows it (type successor), with
// the channels between the two.
type simChild struct {
	parent place
	pid    bool // successor.pid is known
	doomed bool
	ending bool
	linked bool
	ready  bool
	gone   bool // its end was noticed

	datagrams queue // to the socket of its NOTIFY_SOCKET
	hello     bool  // its hello is on its way
	link      queue // from the parent's end of the link to the other
	back      queue // from there to the parent
	heir      bool  // successor.heir
	holder    place // who has the other end
	cut       bool  // that end was lost by a kill from outside
	shut      bool  // the parent has closed its end
	committed bool  // it was told so
}

// hears says whom the service manager listens to.
type hears int8

const (
	hearsNobody hears = iota // there is no manager
	hearsMain                // NotifyAccess=main
	hearsAll                 // NotifyAccess=all
)

func (h hears) String() string {
	return [...]string{"no manager", "a manager that listens to the main process", "a manager that listens to all"}[h]
}

// simManager is systemd, as far as it matters.
type simManager struct {
	hears     hears
	main      place // MAINPID
	reloading bool
	queue     queue
	senders   [len(queue{})]place
	over      bool // the main process has ended: the rest is killed, and it may start anew
}

// hear puts a datagram into the manager's queue, if it is one that it acts on. Of
// RELOADING and READY in a row the last counts.
func (m *simManager) hear(p place, w word) {
	reload := func(w word) bool { return w == wordReady || w == wordReloading }
	if !reload(w) && w < wordPerson {
		return
	}
	i := 0
	for i < len(m.queue) && m.queue[i] != wordNone {
		i++
	}
	if i > 0 && reload(w) && reload(m.queue[i-1]) && m.senders[i-1] == p {
		i--
	}
	if i == len(m.queue) {
		panic("the manager's queue is too short")
	}
	m.queue[i], m.senders[i] = w, p
}

// budget is what may still happen from outside.
type budget struct {
	all, signals, stops, kills, calls, faults int8
}

type simWorld struct {
	gens    [maxGenerations]simGeneration
	kids    [maxGenerations]simChild // by the child's place
	births  int8
	manager simManager
	pidFile place
	left    budget
	readopt bool // Options.Readopt

	// What the properties are about.
	ready  bool  // somebody was ready
	office place // who is the main generation: it became so, or was committed to
	owed   bool  // an upgrade signal was taken and no upgrade has begun since
	stop   bool  // the main generation was told to stop
	owes   place // who has to readopt the service
}

func newSimWorld(h hears, left budget) simWorld {
	w := simWorld{births: 1, office: 0, left: left, pidFile: nobody, owes: nobody}
	for i := range w.gens {
		w.gens[i].successor, w.gens[i].heir = nobody, nobody
		w.kids[i].parent, w.kids[i].holder = nobody, nobody
	}
	w.gens[0].life = born
	w.manager = simManager{hears: h}
	return w
}

func (w *simWorld) alive(p place) bool {
	return p >= 0 && (w.gens[p].life == born || w.gens[p].life == living)
}

// serves tells of a generation that accepts, or has to in the end.
func (w *simWorld) serves(p place) bool {
	if !w.alive(p) {
		return false
	}
	ph := w.gens[p].m.phase
	return ph != phaseDraining && ph != phaseStopping
}

// readopts tells of a generation that drains and can know that the main generation,
// which has been killed, had it for its heir.
func (w *simWorld) readopts(p place) bool {
	g := &w.gens[p]
	if !g.m.spare {
		return false
	}
	for _, said := range w.kids[g.successor].back {
		if said == wordNotHeir || said == wordHurry {
			return false
		}
	}
	return w.kids[g.successor].heir && w.broken(g.successor) && !g.term
}

// broken tells whether nobody has the other end of link k.
func (w *simWorld) broken(k place) bool {
	return w.kids[k].holder == nobody && !w.kept(k)
}

// kept tells whether a generation that drains has a duplicate of the other end.
func (w *simWorld) kept(k place) bool {
	return w.any(func(p place) bool { return w.gens[p].spare&(1<<k) != 0 })
}

func (w *simWorld) any(is func(place) bool) bool {
	for p := range place(maxGenerations) {
		if is(p) {
			return true
		}
	}
	return false
}

// excused: the service was told to stop, or its main process was killed from
// outside when nobody else was there to go on.
func (w *simWorld) excused() bool {
	return w.stop || w.manager.over || w.gens[w.office].life == killed && !w.any(w.serves) && w.owes == nobody
}

// bury is the end of a process: the kernel closes what it held.
func (w *simWorld) bury(p place, how life) {
	g := &w.gens[p]
	told, candidate, carried := g.told, p != w.office && !g.handed, w.carried()
	w.releaseSpare(p, how == killed)
	*g = simGeneration{life: how, successor: nobody, heir: nobody, told: told}
	if how == killed && p == w.office {
		w.stop = false // it can't see to the end of others any more
	}
	for k := range place(maxGenerations) {
		c := &w.kids[k]
		if c.parent == p && !c.gone {
			// Nobody there to know.
			c.pid, c.doomed, c.ending, c.linked, c.ready = false, false, false, false, false
			c.datagrams, c.hello = queue{}, false
		}
		if c.parent == p {
			c.back, c.heir = queue{}, false
		}
		if c.holder == p {
			w.lose(k, how == killed)
		}
	}
	c := &w.kids[p]
	if !w.alive(c.parent) {
		c.datagrams, c.hello = queue{}, false
	}
	if w.owes == p {
		w.owes = nobody
	}
	if how == killed && p == w.office && !told {
		for q := range place(maxGenerations) {
			if w.alive(q) && w.readopts(q) {
				w.owes = q
			}
		}
	}
	// A wish ends with whom it was told to, if that was killed, or was not to be the
	// main generation in the end.
	if (how == killed || candidate) && carried && !w.carried() {
		w.owed = false
	}
}

// lose closes the other end of a link, with what was on its way.
func (w *simWorld) lose(k place, byKill bool) {
	c := &w.kids[k]
	c.holder, c.cut = nobody, byKill
	if w.kept(k) {
		return
	}
	q := c.link
	c.link = queue{}
	for _, m := range q {
		if m >= wordPerson {
			w.lose(place(m-wordPerson), byKill)
		}
	}
}

// releaseSpare closes the ends of links that p has kept.
func (w *simWorld) releaseSpare(p place, byKill bool) {
	kept := w.gens[p].spare
	w.gens[p].spare = 0
	for k := range place(maxGenerations) {
		if kept&(1<<k) != 0 && w.broken(k) {
			w.lose(k, byKill)
		}
	}
}

// carried tells whether the wish for an upgrade is somewhere.
func (w *simWorld) carried() bool {
	for p := range place(maxGenerations) {
		if w.gens[p].m.wanted {
			return true
		}
		for _, m := range w.kids[p].link {
			if m == wordUpgrade {
				return true
			}
		}
	}
	return false
}
