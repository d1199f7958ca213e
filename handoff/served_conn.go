package handoff

import (
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/goaway"
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
	asked asked
	http2 atomic.Bool // its protocol has its own farewell
	// of HTTP/2 that isn't followed
	streams streams
	began   bool                        // something was read
	frames  atomic.Pointer[goaway.Conn] // follows it if it may be HTTP/2 without TLS; or nil
	turn    float32                     // when in a farewell, from 0 to 1

	wait awaited
}

// socketConn is what *net.TCPConn and *net.UnixConn have in common.
type socketConn interface {
	net.Conn
	syscall.Conn
}

func (c *servedConn) init(s *connSet, from *listener, inner socketConn, w wait) {
	c.set, c.from, c.inner = s, from, inner
	c.turn = rand.Float32()
	c.idle.fresh = true
	c.idle.begun(w)
	c.idle.setDeadline = inner.SetReadDeadline
}

func (c *servedConn) served() *servedConn { return c }

func (c *servedConn) setIdle(idle bool) { c.idle.state(idle) }

func (c *servedConn) cameFrom() *listener { return c.from }

func (c *servedConn) read(p []byte) (n int, err error) {
	for {
		waits, err := c.idle.begin(cap(p))
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
	if err := c.setReadDeadline(t); err != nil {
		return err
	}
	return c.setWriteDeadline(t)
}

func (c *servedConn) setWriteDeadline(t time.Time) error {
	if c.idle.use() != nil {
		return nil // as setReadDeadline has it
	}
	return c.inner.SetWriteDeadline(t)
}

func (c *servedConn) write(p []byte) (int, error) {
	if err := c.idle.use(); err != nil {
		return 0, err
	}
	return c.inner.Write(p)
}

// half calls CloseRead or CloseWrite, which would reach all who have the socket.
func (c *servedConn) half(shut func() error) error {
	if err := c.idle.use(); err != nil {
		return err
	}
	return shut()
}

func (c *servedConn) syscallConn() (syscall.RawConn, error) {
	if err := c.idle.use(); err != nil {
		return nil, err
	}
	return c.inner.SyscallConn()
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
	return &emigrant{conn: c.inner, from: c.from, wait: c.idle.wait(), gone: func() { c.set.remove(self) }}
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
	if f := c.frames.Load(); f != nil {
		f.Closed()
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
// know: then whoever talks steadily has to be told, however slowly that is.
func (c *servedConn) dismiss(f *farewell) bool {
	if c.stays() {
		return f.due(c.turn)
	}
	often := c.asked.often(time.Now()) // which counts
	return often || f.late(time.Since(c.idle.wait().since))
}

// asked counts the requests on a connection that could have left.
type asked struct {
	mu    sync.Mutex
	times int
	first time.Time
}

// often counts one more, and tells whether it is one too many.
func (a *asked) often(now time.Time) bool {
	const (
		chances = 32
		within  = time.Second
	)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.times++
	if a.times == 1 {
		a.first = now
	}
	return a.times > chances || a.times > 1 && now.Sub(a.first) >= within
}

type tcpConn struct {
	*net.TCPConn
	servedConn
}

// NetConn returns the connection that is wrapped, as that of *tls.Conn does.
func (c *tcpConn) NetConn() net.Conn { return c.TCPConn }

func (c *tcpConn) Read(p []byte) (int, error)            { return c.readFollowing(p) }
func (c *tcpConn) Write(p []byte) (int, error)           { return c.writeFollowing(p) }
func (c *tcpConn) CloseRead() error                      { return c.half(c.TCPConn.CloseRead) }
func (c *tcpConn) CloseWrite() error                     { return c.half(c.TCPConn.CloseWrite) }
func (c *tcpConn) SyscallConn() (syscall.RawConn, error) { return c.syscallConn() }
func (c *tcpConn) SetReadDeadline(t time.Time) error     { return c.setReadDeadline(t) }
func (c *tcpConn) SetWriteDeadline(t time.Time) error    { return c.setWriteDeadline(t) }
func (c *tcpConn) SetDeadline(t time.Time) error         { return c.setBothDeadlines(t) }
func (c *tcpConn) leave() *emigrant                      { return c.leaveAs(c) }
func (c *tcpConn) Close() error                          { return c.finish(c) }

// ReadFrom is how sendfile and splice get there.
func (c *tcpConn) ReadFrom(r io.Reader) (int64, error) {
	if err := c.idle.use(); err != nil {
		return 0, err
	}
	return c.TCPConn.ReadFrom(r)
}

// WriteTo reads from the socket itself.
func (c *tcpConn) WriteTo(w io.Writer) (int64, error) {
	if err := c.idle.bypass(); err != nil {
		return 0, err
	}
	return c.TCPConn.WriteTo(w)
}

type unixConn struct {
	*net.UnixConn
	servedConn
}

// NetConn returns the connection that is wrapped, as that of *tls.Conn does.
func (c *unixConn) NetConn() net.Conn { return c.UnixConn }

func (c *unixConn) Read(p []byte) (int, error)            { return c.readFollowing(p) }
func (c *unixConn) Write(p []byte) (int, error)           { return c.writeFollowing(p) }
func (c *unixConn) CloseRead() error                      { return c.half(c.UnixConn.CloseRead) }
func (c *unixConn) CloseWrite() error                     { return c.half(c.UnixConn.CloseWrite) }
func (c *unixConn) SyscallConn() (syscall.RawConn, error) { return c.syscallConn() }
func (c *unixConn) SetReadDeadline(t time.Time) error     { return c.setReadDeadline(t) }
func (c *unixConn) SetWriteDeadline(t time.Time) error    { return c.setWriteDeadline(t) }
func (c *unixConn) SetDeadline(t time.Time) error         { return c.setBothDeadlines(t) }
func (c *unixConn) leave() *emigrant                      { return c.leaveAs(c) }
func (c *unixConn) Close() error                          { return c.finish(c) }

// ReadFrom and the two below read from the socket itself.
func (c *unixConn) ReadFrom(p []byte) (int, net.Addr, error) {
	if err := c.idle.bypass(); err != nil {
		return 0, nil, err
	}
	return c.UnixConn.ReadFrom(p)
}

func (c *unixConn) ReadFromUnix(p []byte) (int, *net.UnixAddr, error) {
	if err := c.idle.bypass(); err != nil {
		return 0, nil, err
	}
	return c.UnixConn.ReadFromUnix(p)
}

func (c *unixConn) ReadMsgUnix(p, oob []byte) (n, oobn, flags int, from *net.UnixAddr, err error) {
	if err := c.idle.bypass(); err != nil {
		return 0, 0, 0, nil, err
	}
	return c.UnixConn.ReadMsgUnix(p, oob)
}
