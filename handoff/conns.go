package handoff

import (
	"crypto/tls"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// connSet is the set of a server's open connections.
type connSet struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	empty chan struct{} // closed when there is none; nil if nobody waits
	// handOver, if not nil, takes connections that can leave.
	handOver func(*emigrant)

	requests atomic.Uint64 // that its server has begun to answer
	from     map[*listener]struct{}
}

func (s *connSet) add(c net.Conn) {
	s.mu.Lock()
	if s.conns == nil {
		s.conns = make(map[net.Conn]struct{})
	}
	s.conns[c] = struct{}{}
	moving := s.handOver != nil
	s.mu.Unlock()
	if m, ok := c.(movable); ok && moving {
		m.leave()
	}
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

func (s *connSet) all() []net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]net.Conn, 0, len(s.conns))
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

// move has all connections that can leave go to handOver, now or when they can.
func (s *connSet) move(handOver func(*emigrant)) {
	s.mu.Lock()
	s.handOver = handOver
	s.mu.Unlock()
	for _, c := range s.all() {
		if m, ok := c.(movable); ok {
			m.leave()
		}
	}
}

// taker returns who takes connections that can leave.
func (s *connSet) taker() func(*emigrant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.handOver
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
}

func (l *countedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c = l.conns.wrap(c, l.origin)
	if h, ok := c.(interface{ setHome(*listener) }); ok && l.home != nil {
		h.setHome(l.home)
	}
	if _, ok := c.(movable); ok {
		l.conns.add(c)
	}
	return c, nil
}

// wrap returns a connection that leaves the set by itself. Embedding keeps the
// methods that net/http looks for (sendfile, splice).
func (s *connSet) wrap(c net.Conn, from *listener) net.Conn {
	switch inner := c.(type) {
	case *net.TCPConn:
		w := &tcpConn{TCPConn: inner}
		w.init(s, from, inner)
		return w
	case *net.UnixConn:
		w := &unixConn{UnixConn: inner}
		w.init(s, from, inner)
		return w
	}
	return c
}

// movable is a connection that is counted and may leave.
type movable interface {
	leave()
	setIdle(bool)
}

// servedConn is what tcpConn and unixConn have in common.
type servedConn struct {
	idle  idleness
	set   *connSet
	from  *listener // nil: it stays
	home  *listener // where it came in, if that is known
	inner socketConn
	asked atomic.Int32 // requests while its server drains
	http2 atomic.Bool  // its protocol has its own farewell
	turn  float32      // when in a farewell, from 0 to 1

	handed atomic.Bool // it was handed over; what Close closes is a copy
}

// socketConn is what *net.TCPConn and *net.UnixConn have in common.
type socketConn interface {
	net.Conn
	syscall.Conn
}

func (c *servedConn) init(s *connSet, from *listener, inner socketConn) {
	c.set, c.from, c.inner = s, from, inner
	c.turn = rand.Float32()
	c.idle.fresh = true
	c.idle.setDeadline = inner.SetReadDeadline
}

func (c *servedConn) setIdle(idle bool) { c.idle.state(idle) }

func (c *servedConn) leave() {
	if c.from != nil {
		c.idle.leave()
	}
}

func (c *servedConn) read(p []byte) (int, error) {
	for {
		if err := c.idle.begin(len(p)); err != nil {
			return 0, err
		}
		n, err := c.inner.Read(p)
		if err = c.idle.end(n, err); err != errStay {
			return n, err
		}
		if !hasBytes(c.inner) {
			return 0, os.ErrDeadlineExceeded
		}
	}
}

func (c *servedConn) setBothDeadlines(t time.Time) error {
	if err := c.idle.setReadDeadline(t); err != nil {
		return err
	}
	return c.inner.SetWriteDeadline(t)
}

// finish closes the connection or, if it has been found idle and is to leave,
// hands it over. self is how the set knows it.
func (c *servedConn) finish(self net.Conn) error {
	if c.idle.isLeaving() && c.handed.CompareAndSwap(false, true) {
		// It stays in the set until it is somebody else's.
		c.set.taker()(&emigrant{conn: c.inner, from: c.from, gone: func() { c.set.remove(self) }})
		return nil
	}
	err := c.inner.Close()
	c.set.remove(self)
	return err
}

// dismiss tells whether the answer to a request that came while the server drains
// is to be the connection's last here. One that stays has its turn in the farewell.
// One that can leave does so after the answer, unless its client was so quick that
// net/http has taken the first byte of the next request already. That may happen
// more than once, but if it goes on, net/http does something that idleness doesn't
// know.
func (c *servedConn) dismiss(f *farewell) bool {
	if c.stays() {
		return f.due(c.turn)
	}
	const chances = 32
	return c.asked.Add(1) > chances
}

// emigrant is an idle connection on its way to the successor.
type emigrant struct {
	conn socketConn
	from *listener
	gone func() // it is not this process's any more

	luggage   *luggage // of one that Move sends
	abandoned bool     // nobody waits for it any more; guarded by the mover
}

type tcpConn struct {
	*net.TCPConn
	servedConn
}

func (c *tcpConn) Read(p []byte) (int, error)        { return c.read(p) }
func (c *tcpConn) SetReadDeadline(t time.Time) error { return c.idle.setReadDeadline(t) }
func (c *tcpConn) SetDeadline(t time.Time) error     { return c.setBothDeadlines(t) }
func (c *tcpConn) Close() error                      { return c.finish(c) }

type unixConn struct {
	*net.UnixConn
	servedConn
}

func (c *unixConn) Read(p []byte) (int, error)        { return c.read(p) }
func (c *unixConn) SetReadDeadline(t time.Time) error { return c.idle.setReadDeadline(t) }
func (c *unixConn) SetDeadline(t time.Time) error     { return c.setBothDeadlines(t) }
func (c *unixConn) Close() error                      { return c.finish(c) }
