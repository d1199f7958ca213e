package handoff

import (
	"time"
)

// A servedConn without TLS may turn out to be HTTP/2 with its first bytes. Then what is
// read and written is followed from there on, for a GOAWAY to be put in.

func (c *servedConn) readFollowing(p []byte) (int, error) {
	if f := c.frames.Load(); f != nil {
		return f.Read(p)
	}
	n, err := c.read(p)
	if n > 0 && !c.began {
		c.began = true
		if c.set.http2 != nil {
			c.frames.Store(c.set.http2.Follow(rawConn{c.inner, c}, p[:n]))
		}
	}
	return n, err
}

func (c *servedConn) writeFollowing(p []byte) (int, error) {
	if f := c.frames.Load(); f != nil {
		return f.Write(p)
	}
	return c.write(p)
}

func (c *servedConn) setReadDeadline(t time.Time) error {
	if f := c.frames.Load(); f != nil {
		return f.SetReadDeadline(t)
	}
	return c.idle.setReadDeadline(t)
}

// rawConn is a connection that is followed, as it is without that.
type rawConn struct {
	socketConn
	*servedConn
}

func (c rawConn) Read(p []byte) (int, error)         { return c.read(p) }
func (c rawConn) Write(p []byte) (int, error)        { return c.write(p) }
func (c rawConn) Close() error                       { return c.inner.Close() }
func (c rawConn) SetReadDeadline(t time.Time) error  { return c.idle.setReadDeadline(t) }
func (c rawConn) SetWriteDeadline(t time.Time) error { return c.setWriteDeadline(t) }
