package handoff

import (
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

// mover sends idle connections over the link, as many in a message as are there.
// Each stays this generation's until the other has acknowledged it. It would be safe
// as soon as it is sent, in the socket's queue, if its reader could be relied on to
// live; but one that dies before it has read it would take it along, and one that
// has no such listener, or no descriptor left, has to be able to say so. The answers
// cost little: there is one for each message, and the next one is under way meanwhile.
type mover struct {
	link *link.Conn
	back func(*emigrant) // takes a connection that could not leave
	room chan struct{}   // for as many messages as may be under way: a process has only so many descriptors in flight
	wait time.Duration   // for room, and for the sending

	mu      sync.Mutex
	next    uint64
	pending []*emigrant             // have left, and are to be sent
	sources []func(int) []*emigrant // of those that have not left yet
	away    map[uint64][]*emigrant  // messages that were sent, by the number of their first
	asleep  []*emigrant             // are the other's; net/http still waits for them here
	running bool                    // run is at work
	dead    bool

	begun, last time.Time // of the first connection's leaving, of the last one's arrival
	moved       int
}

// How much may be sent and not yet acknowledged. If the successor is stopped, nobody
// knows whether it has read that: so it is not more than keeps both sides at work.
const (
	inOneMessage = 128
	underWay     = 2  // messages
	withState    = 64 // messages with one connection each, which wait for the program's Accept
)

// moveWait bounds the wait for a successor that is busy with thousands, or that
// has been stopped.
const moveWait = 10 * time.Second

func newMover(l *link.Conn, underWay int, back func(*emigrant)) *mover {
	return &mover{link: l, back: back, room: make(chan struct{}, underWay), wait: moveWait, away: make(map[uint64][]*emigrant), next: 1}
}

// movedTo returns who takes idle connections to the successor; nil without one.
func (u *Upgrader) movedTo() *mover {
	if u == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.mover
}

// send hands a connection over. What can't be sent stays. What was sent may be the
// other's already, so nothing but its answer or its death gives that back: of two
// that read from one connection, each would have half of a request.
func (m *mover) send(e *emigrant) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pending = append(m.pending, e)
	m.startLocked()
}

func (m *mover) fetch(next func(most int) []*emigrant) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sources = append(m.sources, next)
	m.startLocked()
}

func (m *mover) startLocked() {
	if !m.running {
		m.running = true
		go m.run()
	}
}

// run works until there is nothing to do.
func (m *mover) run() {
	for {
		asleep, sending := m.todo()
		switch {
		case sending && m.hasRoom():
			m.ship(m.batch())
		case sending:
			m.giveUp()
		case len(asleep) > 0:
			rouse(asleep)
		default:
			return
		}
	}
}

func (m *mover) todo() (asleep []*emigrant, sending bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.pending)+len(m.sources) > 0 {
		return nil, true
	}
	if len(m.away) == 0 {
		n := min(len(m.asleep), inOneMessage)
		asleep, m.asleep = m.asleep[:n], m.asleep[n:]
	}
	m.running = len(asleep) > 0
	return asleep, false
}

// rouse closes connections here whose reads net/http waits for. It is done when
// nothing else is left to do, and for few at a time: waking thousands of goroutines
// takes longer than to move their connections, and most often the process ends first.
func rouse(asleep []*emigrant) {
	for _, e := range asleep {
		e.conn.Close()
	}
	for _, e := range asleep {
		<-e.reader.ended()
	}
}

// hasRoom waits until there is room for another message, but not for ever.
func (m *mover) hasRoom() bool {
	timeout := time.NewTimer(m.wait)
	defer timeout.Stop()
	select {
	case m.room <- struct{}{}:
		return true
	case <-timeout.C:
		return false
	}
}

// giveUp lets all stay that wait for being sent.
func (m *mover) giveUp() {
	m.mu.Lock()
	stay, sources := m.pending, m.sources
	m.pending, m.sources = nil, nil
	m.mu.Unlock()
	m.refuse(stay)
	for _, next := range sources {
		for stay := next(inOneMessage); len(stay) > 0; stay = next(inOneMessage) {
			m.refuse(stay)
		}
	}
}

func (m *mover) refuse(all []*emigrant) {
	for _, e := range all {
		go m.back(e) // it may have to wait for a server
	}
}

// batch returns what goes into the next message.
func (m *mover) batch() []*emigrant {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.pending) == 0 {
		next := m.sources[0]
		m.mu.Unlock()
		batch := next(inOneMessage)
		m.mu.Lock()
		if len(batch) == 0 {
			m.sources = m.sources[1:]
		}
		m.pending = append(m.pending, batch...)
	}
	n := together(m.pending)
	batch := m.pending[:n:n]
	m.pending = m.pending[n:]
	return batch
}

// together returns how many of the first go into one message: those of one listener.
// With luggage each goes alone.
func together(all []*emigrant) (n int) {
	for n < min(len(all), inOneMessage) && all[n].from == all[0].from && all[n].luggage == nil {
		n++
	}
	return max(n, min(len(all), 1))
}

// ship sends connections in one message, for which there is room. If that can't be,
// it tries again with half as many: one of them may be at fault, or the number of
// descriptors under way of an unprivileged user (ETOOMANYREFS).
func (m *mover) ship(batch []*emigrant) {
	m.mu.Lock()
	if len(batch) == 0 || m.dead || batch[0].abandoned {
		m.mu.Unlock()
		<-m.room
		m.refuse(batch)
		return
	}
	first := m.next
	if first == 1 {
		m.begun = time.Now()
	}
	m.next += uint64(len(batch))
	m.away[first] = batch
	m.mu.Unlock()
	err := m.embark(first, batch)
	if err == nil {
		return
	}
	if _, ok := m.returned(first); !ok { // end was before us
		return
	}
	if len(batch) == 1 || errors.Is(err, os.ErrDeadlineExceeded) {
		m.refuse(batch)
		return
	}
	for _, half := range [][]*emigrant{batch[:len(batch)/2], batch[len(batch)/2:]} {
		if m.hasRoom() {
			m.ship(half)
		} else {
			m.refuse(half)
		}
	}
}

// embark sends them.
func (m *mover) embark(first uint64, batch []*emigrant) error {
	from := batch[0].from
	name, address := from.name, from.Addr().String()
	if bag := batch[0].luggage; bag != nil {
		return bag.send(m, link.Move{ID: first, Name: name, Address: address}, batch[0].conn)
	}
	fds, ages := make([]int, len(batch)), make([]link.Age, len(batch))
	for i, e := range batch {
		var err error
		if fds[i], err = e.descriptor(); err != nil {
			return err
		}
		ages[i] = e.wait.age()
	}
	return m.link.SendSockets(m.wait, link.KindConnections, link.Connections{First: first, Name: name, Address: address, Ages: ages}, fds)
}

// returned ends a message's journey, once.
func (m *mover) returned(first uint64) (batch []*emigrant, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if batch, ok = m.away[first]; ok {
		delete(m.away, first)
		<-m.room
	}
	return batch, ok
}

// settle is the other side's answer: so many were taken of a message's connections.
func (m *mover) settle(first uint64, taken int) {
	batch, ok := m.returned(first)
	if !ok {
		return
	}
	taken = min(max(taken, 0), len(batch))
	m.refuse(batch[taken:])
	m.mu.Lock()
	defer m.mu.Unlock()
	if taken > 0 {
		m.moved += taken
		m.last = time.Now()
	}
	for _, e := range batch[:taken] {
		if e.reader != nil {
			m.asleep = append(m.asleep, e)
		} else {
			e.conn.Close()
		}
		e.gone()
	}
	if len(m.away) == 0 && len(m.asleep) > 0 {
		m.startLocked()
	}
}

// report tells how many connections have moved, and how long that took.
func (m *mover) report(log *slog.Logger) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.moved > 0 {
		log.Info("idle connections have moved", "connections", m.moved, "took", m.last.Sub(m.begun))
	}
}

// end is when the other side is gone: what it has not acknowledged stays.
func (m *mover) end() {
	if m == nil {
		return
	}
	m.mu.Lock()
	away := m.away
	m.away, m.dead = make(map[uint64][]*emigrant), true
	m.mu.Unlock()
	for _, batch := range away {
		<-m.room
		m.refuse(batch)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.asleep) > 0 {
		m.startLocked()
	}
}
