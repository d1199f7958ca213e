package handoff

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// lobby is where connections from an older generation wait for their next
// request. They come out of the listener's Accept when its first byte is there: so
// net/http takes them for new ones rightly, and its timeouts begin then. None of
// their bytes is read here.
type lobby struct {
	conns *connSet             // in which those that wait are counted
	limit func() time.Duration // how long one may wait; 0: for ever
	ready func(net.Conn)       // has one served
}

// guest is a connection that waits in a lobby.
type guest struct {
	net.Conn
	conn  socketConn // the same
	lobby *lobby
	from  *listener

	mu     sync.Mutex
	wanted bool
	over   bool // the wait has ended: its deadline is somebody else's
}

// enter has a connection wait.
func (b *lobby) enter(file *os.File, from *listener) error {
	any, err := net.FileConn(file)
	if err != nil {
		return err
	}
	conn, ok := any.(socketConn)
	if !ok {
		any.Close()
		return net.UnknownNetworkError(any.LocalAddr().Network())
	}
	g := &guest{Conn: conn, conn: conn, lobby: b, from: from}
	if limit := b.limit(); limit > 0 {
		if err := conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
			conn.Close()
			return err
		}
	}
	b.conns.add(g)
	go g.wait()
	return nil
}

func (g *guest) wait() {
	err := awaitByte(g.conn)
	g.mu.Lock()
	g.over = true
	wanted := g.wanted
	if err == nil {
		err = g.Conn.SetReadDeadline(time.Time{})
	}
	g.mu.Unlock()
	switch {
	case err == nil: // it has something to say, if only that it is closed
		g.lobby.ready(g.Conn)
		g.lobby.conns.remove(g)
	case wanted && errors.Is(err, os.ErrDeadlineExceeded):
		g.lobby.conns.taker()(&emigrant{conn: g.conn, from: g.from, gone: func() { g.lobby.conns.remove(g) }})
	default:
		g.Conn.Close()
		g.lobby.conns.remove(g)
	}
}

// leave sends it on to the next generation.
func (g *guest) leave() {
	g.mu.Lock()
	g.wanted = true
	g.mu.Unlock()
	_ = g.Close()
}

func (g *guest) setIdle(bool) {}

// Close is when nobody waits for the client any longer. It does nothing to a
// connection that is being served: a deadline would cut its request off.
func (g *guest) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		return nil
	}
	return g.Conn.SetReadDeadline(aLongTimeAgo)
}
