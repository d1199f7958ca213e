package handoff

import (
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

// mover sends idle connections over the link. Each stays this generation's until
// the other has acknowledged it.
type mover struct {
	link *link.Conn
	back func(*emigrant) // takes a connection that could not leave
	room chan struct{}   // for as many as may be under way: a process has only so many descriptors in flight
	wait time.Duration   // for room, and for the sending

	mu   sync.Mutex
	next uint64
	away map[uint64]*emigrant
	dead bool

	begun, last time.Time // of the first connection's leaving, of the last one's arrival
	moved       int
}

// underWay is how many connections may be sent and not yet acknowledged.
const underWay = 64

func newMover(l *link.Conn, back func(*emigrant)) *mover {
	return &mover{link: l, back: back, room: make(chan struct{}, underWay), wait: moveWait, away: make(map[uint64]*emigrant)}
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

// send hands a connection over; it may wait for those before it. What can't be
// sent stays. What was sent may be the other's already, so nothing but its answer
// or its death gives that back: of two that read from one connection, each would
// have half of a request.
func (m *mover) send(e *emigrant) {
	timeout := time.NewTimer(m.wait)
	defer timeout.Stop()
	select {
	case m.room <- struct{}{}:
	case <-timeout.C:
		m.back(e)
		return
	}
	m.mu.Lock()
	if m.dead || e.abandoned {
		m.mu.Unlock()
		<-m.room
		m.back(e)
		return
	}
	if m.next == 0 {
		m.begun = time.Now()
	}
	m.next++
	id := m.next
	m.away[id] = e
	m.mu.Unlock()
	if err := e.embark(m, id); err != nil {
		m.settle(id, false)
	}
}

// embark sends it.
func (e *emigrant) embark(m *mover, id uint64) error {
	address := e.from.Addr().String()
	if e.luggage != nil {
		return e.luggage.send(m, link.Move{ID: id, Name: e.from.name, Address: address}, e.conn)
	}
	return m.link.Send(m.wait, link.KindConnection, link.Connection{ID: id, Name: e.from.name, Address: address}, e.conn)
}

// moveWait bounds the wait for a successor that is busy with thousands, or that
// has been stopped.
const moveWait = 10 * time.Second

// settle is the other side's answer.
func (m *mover) settle(id uint64, taken bool) {
	m.mu.Lock()
	e := m.away[id]
	delete(m.away, id)
	if e != nil && taken {
		m.moved++
		m.last = time.Now()
	}
	m.mu.Unlock()
	if e == nil {
		return
	}
	<-m.room
	if !taken {
		m.back(e)
		return
	}
	e.conn.Close()
	e.gone()
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
	m.away, m.dead = make(map[uint64]*emigrant), true
	m.mu.Unlock()
	for _, e := range away {
		<-m.room
		m.back(e)
	}
}

// immigrate takes a connection that an older generation sends; it is called
// between two messages of its link, so that what it answers is true also if the
// link is handed on right after.
func (u *Upgrader) immigrate(r *relative, m link.Message) {
	var c link.Connection
	if err := m.Decode(&c); err != nil {
		m.Close()
		return
	}
	taken := len(m.Files) == 1 && u.receive(c, m.Files[0])
	if !taken {
		m.Close()
	}
	if err := r.conn.Send(linkWait, link.KindTaken, link.Taken{ID: c.ID, Taken: taken}); err != nil {
		u.log.Debug("acknowledging a connection", "error", err)
	}
}

// receive finds the listener that a connection belongs to, and has it wait there
// for its next request.
func (u *Upgrader) receive(c link.Connection, file *os.File) bool {
	u.mu.Lock()
	var to *listener
	for _, l := range u.lobbies {
		if l.name != c.Name {
			continue
		}
		if to = l; l.Addr().String() == c.Address {
			break
		}
	}
	u.mu.Unlock()
	if to == nil {
		return false
	}
	if err := to.lobby.enter(file, to); err != nil {
		return false
	}
	file.Close()
	return true
}
