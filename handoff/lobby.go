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
	wanted := g.wanted
	g.mu.Unlock()
	switch {
	case err == nil: // it has something to say, if only that it is closed
		if err := g.Conn.SetReadDeadline(time.Time{}); err == nil {
			g.lobby.ready(g.Conn)
			g.lobby.conns.remove(g)
			return
		}
	case wanted && errors.Is(err, os.ErrDeadlineExceeded):
		g.lobby.conns.taker()(&emigrant{conn: g.conn, from: g.from, gone: func() { g.lobby.conns.remove(g) }})
		return
	}
	g.Conn.Close()
	g.lobby.conns.remove(g)
}

// leave sends it on to the next generation.
func (g *guest) leave() {
	g.mu.Lock()
	g.wanted = true
	g.mu.Unlock()
	_ = g.Conn.SetReadDeadline(aLongTimeAgo)
}

func (g *guest) setIdle(bool) {}

// Close is when nobody waits for the client any longer.
func (g *guest) Close() error { return g.Conn.SetReadDeadline(aLongTimeAgo) }
