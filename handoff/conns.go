package handoff

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// connSet is the set of a server's open connections.
type connSet struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	empty chan struct{} // closed when there is none; nil if nobody waits
}

func (s *connSet) add(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		s.conns = make(map[net.Conn]struct{})
	}
	s.conns[c] = struct{}{}
}

func (s *connSet) remove(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if len(s.conns) == 0 && s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}

func (s *connSet) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// none returns a channel that is closed when the set is empty.
func (s *connSet) none() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.empty != nil {
		return s.empty
	}
	c := make(chan struct{})
	if len(s.conns) == 0 {
		close(c)
	} else {
		s.empty = c
	}
	return c
}

// close closes all connections.
func (s *connSet) close() {
	s.mu.Lock()
	conns := make([]net.Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
}

// state is the hook for a server's connections. It counts those that come from a
// listener that makes connections of a type that can't be wrapped: *tls.Conn of
// tls.NewListener, which net/http has to recognise.
func (s *connSet) state(c net.Conn, state http.ConnState) {
	if t, ok := c.(*tls.Conn); ok {
		if _, ok := t.NetConn().(counted); ok {
			return
		}
	} else if _, ok := c.(counted); ok {
		return
	}
	switch state {
	case http.StateNew:
		s.add(c)
	case http.StateClosed, http.StateHijacked:
		s.remove(c)
	}
}

// countedListener puts the connections that it accepts into a connSet, until
// they are closed.
type countedListener struct {
	net.Listener
	conns *connSet
}

func (l *countedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	// Embedding keeps the methods that net/http looks for (sendfile, splice).
	switch inner := c.(type) {
	case *net.TCPConn:
		c = &tcpConn{TCPConn: inner, conns: l.conns}
	case *net.UnixConn:
		c = &unixConn{UnixConn: inner, conns: l.conns}
	default:
		return c, nil
	}
	l.conns.add(c)
	return c, nil
}

// counted is a connection that leaves its connSet by itself.
type counted interface{ isCounted() }

type tcpConn struct {
	*net.TCPConn
	conns *connSet
}

func (c *tcpConn) isCounted() {}

// Close closes the connection.
func (c *tcpConn) Close() error {
	err := c.TCPConn.Close()
	c.conns.remove(c)
	return err
}

type unixConn struct {
	*net.UnixConn
	conns *connSet
}

func (c *unixConn) isCounted() {}

// Close closes the connection.
func (c *unixConn) Close() error {
	err := c.UnixConn.Close()
	c.conns.remove(c)
	return err
}
