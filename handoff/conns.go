package handoff

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/handoff-dev/handoff/handoff/internal/goaway"
)

// connSet is the set of a server's open connections.
type connSet struct {
	mu    sync.Mutex
	conns map[io.Closer]struct{} // a net.Conn or a guest
	empty chan struct{}          // closed when there is none; nil if nobody waits
	// to, if not nil, takes connections that can leave.
	to taker
	// http2, if not nil, follows those that are HTTP/2.
	http2 *goaway.Set

	requests atomic.Uint64 // that its server has begun to answer
	from     map[*listener]struct{}
}

func (s *connSet) add(c io.Closer) {
	s.mu.Lock()
	if s.conns == nil {
		s.conns = make(map[io.Closer]struct{})
	}
	s.conns[c] = struct{}{}
	to := s.to
	s.mu.Unlock()
	if m, ok := c.(movable); ok && to != nil {
		if e := m.leave(); e != nil {
			to.send(e)
		}
	}
}

func (s *connSet) remove(c io.Closer) {
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

func (s *connSet) all() []io.Closer {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]io.Closer, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
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
	for _, c := range s.all() {
		c.Close()
	}
}

// dismissGuests closes those that wait for their first request here.
func (s *connSet) dismissGuests() {
	for _, c := range s.all() {
		if g, ok := c.(*guest); ok {
			g.Close()
		}
	}
}

// taker takes connections away.
type taker interface {
	// send takes one that has left.
	send(*emigrant)
	// fetch takes those that next returns, at most so many at a time, until there are
	// none. What it has no room for isn't asked for, and goes on as before.
	fetch(next func(most int) []*emigrant)
}

// move has all connections that can leave go to a taker, now or when they can.
func (s *connSet) move(to taker) {
	s.mu.Lock()
	s.to = to
	s.mu.Unlock()
	all := s.byListener()
	to.fetch(func(most int) (left []*emigrant) {
		for len(all) > 0 && len(left) < most {
			if m, ok := all[0].(movable); ok {
				if e := m.leave(); e != nil {
					left = append(left, e)
				}
			}
			all = all[1:]
		}
		return left
	})
}

// byListener returns all connections, those of a listener together: they can be sent in
// one message.
func (s *connSet) byListener() []io.Closer {
	all := s.all()
	s.mu.Lock()
	listeners := len(s.from)
	s.mu.Unlock()
	if listeners < 2 {
		return all
	}
	at := make(map[*listener][]io.Closer)
	for _, c := range all {
		var from *listener
		if m, ok := c.(movable); ok {
			from = m.cameFrom()
		}
		at[from] = append(at[from], c)
	}
	all = all[:0]
	for _, conns := range at {
		all = append(all, conns...)
	}
	return all
}

// taker returns who takes connections that can leave.
func (s *connSet) taker() taker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.to
}

// state is the hook for a server's connections. It counts those that come from a
// listener that makes connections of a type that can't be wrapped: *tls.Conn of
// tls.NewListener, which net/http has to recognise.
func (s *connSet) state(c net.Conn, state http.ConnState) {
	m, ok := c.(movable)
	if t, under := c.(*tls.Conn); under {
		m, ok = t.NetConn().(movable)
	}
	if ok {
		if state != http.StateNew {
			m.setIdle(state == http.StateIdle)
		}
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
// they are closed or have left.
type countedListener struct {
	net.Listener
	conns *connSet
	// origin is where its connections can go to in a successor; nil if they
	// can't.
	origin *listener
	home   *listener // where they come in, for the status; nil if that is not known
	http2  *goaway.Set
	h2c    bool // they may be HTTP/2 without TLS
}

func (l *countedListener) Accept() (net.Conn, error) {
	var (
		c   net.Conn
		w   wait
		err error
	)
	if l.origin != nil {
		c, w, err = l.origin.accept()
	} else {
		c, err = l.Listener.Accept()
	}
	if err != nil {
		return nil, err
	}
	c = l.conns.wrap(c, l.origin, w)
	if h, ok := c.(interface{ setHome(*listener) }); ok && l.home != nil {
		h.setHome(l.home)
	}
	if _, ok := c.(movable); ok {
		l.conns.add(c)
	} else if l.http2 != nil {
		c = l.http2.Wrap(c, l.h2c)
	}
	return c, nil
}

// wrap returns a connection that leaves the set by itself. Embedding keeps the
// methods that net/http looks for (sendfile, splice).
func (s *connSet) wrap(c net.Conn, from *listener, waits wait) net.Conn {
	switch inner := c.(type) {
	case *net.TCPConn:
		w := &tcpConn{TCPConn: inner}
		w.init(s, from, inner, waits)
		return w
	case *net.UnixConn:
		w := &unixConn{UnixConn: inner}
		w.init(s, from, inner, waits)
		return w
	}
	return c
}
