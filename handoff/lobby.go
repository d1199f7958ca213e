package handoff

import (
	"net"
	"sync"
	"time"
)

// lobby is where connections from an older generation wait for their next
// request. They come out of the listener's Accept when its first byte is there: so
// net/http takes them for new ones rightly, and its timeouts begin then. None of
// their bytes is read here.
//
// There may be thousands that never say anything more, so one that waits is hardly
// more than its descriptor: a connection of package net, with a goroutine that waits for
// it, would cost ten times as much time.
type lobby struct {
	conns *connSet                       // in which those that wait are counted
	limit func(fresh bool) time.Duration // how long one may wait, counted from its wait's beginning; 0: for ever
	ready func(net.Conn, wait)           // has one served

	mu      sync.Mutex
	watch   *watch   // of those that wait; nil if there are none
	arrived []*guest // are not watched yet
	seating bool     // seat is at work
}

// guest is a connection that waits in a lobby.
type guest struct {
	socket *guestSocket
	lobby  *lobby
	from   *listener
	wait   wait

	// Guarded by the lobby:
	late    *time.Timer
	watched bool
	over    bool // the wait has ended, and the socket is who ended it's
}

// enter has connections wait, whose descriptors it owns then. From its return on they
// are counted; the rest is done aside, for their sender waits for this to end itself.
func (b *lobby) enter(fds []int, waits []wait, from *listener) {
	guests := make([]*guest, len(fds))
	for i, fd := range fds {
		guests[i] = &guest{socket: newGuestSocket(fd), lobby: b, from: from, wait: waits[i]}
		b.conns.add(guests[i])
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.arrived = append(b.arrived, guests...)
	if !b.seating {
		b.seating = true
		go b.seat()
	}
}

// seat has all that have arrived wait.
func (b *lobby) seat() {
	for {
		b.mu.Lock()
		if len(b.arrived) == 0 {
			b.arrived, b.seating = nil, false
			b.mu.Unlock()
			return
		}
		g := b.arrived[0]
		b.arrived = b.arrived[1:]
		err := g.awaitLocked(b.limit(g.wait.fresh))
		b.mu.Unlock()
		if err != nil { // it is nothing that can be watched, or the system watches no more
			g.Close()
		}
	}
}

func (g *guest) awaitLocked(limit time.Duration) (err error) {
	if g.over {
		return nil
	}
	b := g.lobby
	if b.watch == nil {
		if b.watch, err = newWatch(b); err != nil {
			return err
		}
	}
	if err = b.watch.add(g); err != nil {
		return err
	}
	g.watched = true
	if limit > 0 {
		g.late = time.AfterFunc(limit-time.Since(g.wait.since), func() { g.Close() })
	}
	return nil
}

// end ends a guest's wait. It is the caller's if that returns true.
func (g *guest) end() bool {
	g.lobby.mu.Lock()
	defer g.lobby.mu.Unlock()
	return g.endLocked()
}

func (g *guest) endLocked() bool {
	if g.over {
		return false
	}
	g.over = true
	if g.late != nil {
		g.late.Stop()
	}
	if b := g.lobby; g.watched && b.watch.remove(g) {
		b.watch = nil
	}
	return true
}

// speak is when it has something to say, if only that it is closed. The wait has ended.
func (g *guest) speak() {
	if conn, err := g.socket.open(); err == nil {
		g.lobby.ready(conn, g.wait.spoken())
	}
	g.lobby.conns.remove(g)
}

// leave sends it on to the next generation.
func (g *guest) leave() *emigrant {
	if !g.end() {
		return nil
	}
	return &emigrant{conn: g.socket, from: g.from, wait: g.wait, gone: func() { g.lobby.conns.remove(g) }}
}

func (g *guest) cameFrom() *listener { return g.from }

func (g *guest) setIdle(bool) {}

// Close is when nobody waits for the client any longer. It does nothing to a
// connection that is being served, or that has left.
func (g *guest) Close() error {
	if !g.end() {
		return nil
	}
	defer g.lobby.conns.remove(g)
	return g.socket.Close()
}
