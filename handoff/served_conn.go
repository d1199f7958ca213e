package handoff

import (
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// movable is a connection that is counted and may leave.
type movable interface {
	// leave has it leave: now, or by its set's taker when it can, and then nil.
	leave() *emigrant
	cameFrom() *listener
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

	wait awaited
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

func (c *servedConn) cameFrom() *listener { return c.from }

func (c *servedConn) read(p []byte) (n int, err error) {
	for {
		waits, err := c.idle.begin(len(p))
		if err != nil {
			return 0, err
		}
		if waits {
			n, err = c.await(p)
		} else {
			n, err = c.inner.Read(p)
		}
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

// leaveAs is leave of what the set knows as self.
func (c *servedConn) leaveAs(self net.Conn) *emigrant {
	if c.from == nil || !c.idle.leave() {
		return nil
	}
	e := c.emigrate(self)
	e.reader = &c.idle
	return e
}

// emigrate returns the connection as it is handed over. It stays in the set until it
// is somebody else's.
func (c *servedConn) emigrate(self net.Conn) *emigrant {
	return &emigrant{conn: c.inner, from: c.from, gone: func() { c.set.remove(self) }}
}

// finish is Close: of a connection that leaves it closes nothing, not even at the end of
// the drain, for it may be the successor's.
func (c *servedConn) finish(self net.Conn) error {
	leaving, first := c.idle.handOver()
	if first {
		c.set.taker().send(c.emigrate(self))
	}
	if leaving {
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

type tcpConn struct {
	*net.TCPConn
	servedConn
}

func (c *tcpConn) Read(p []byte) (int, error)        { return c.read(p) }
func (c *tcpConn) SetReadDeadline(t time.Time) error { return c.idle.setReadDeadline(t) }
func (c *tcpConn) SetDeadline(t time.Time) error     { return c.setBothDeadlines(t) }
func (c *tcpConn) leave() *emigrant                  { return c.leaveAs(c) }
func (c *tcpConn) Close() error                      { return c.finish(c) }

type unixConn struct {
	*net.UnixConn
	servedConn
}

func (c *unixConn) Read(p []byte) (int, error)        { return c.read(p) }
func (c *unixConn) SetReadDeadline(t time.Time) error { return c.idle.setReadDeadline(t) }
func (c *unixConn) SetDeadline(t time.Time) error     { return c.setBothDeadlines(t) }
func (c *unixConn) leave() *emigrant                  { return c.leaveAs(c) }
func (c *unixConn) Close() error                      { return c.finish(c) }
