package goaway

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// wrapped has the methods that it overrides of the connection inside.
type wrapped struct{ conn Conn }

func (w *wrapped) Read(p []byte) (int, error)  { return w.conn.Read(p) }
func (w *wrapped) Write(p []byte) (int, error) { return w.conn.Write(p) }

func (w *wrapped) Close() error {
	w.conn.Closed()
	return w.conn.raw.Close()
}

func (w *wrapped) SetReadDeadline(t time.Time) error { return w.conn.SetReadDeadline(t) }

func (w *wrapped) SetDeadline(t time.Time) error {
	if err := w.conn.SetReadDeadline(t); err != nil {
		return err
	}
	return w.conn.raw.SetWriteDeadline(t)
}

func (w *wrapped) original() net.Conn { return w.conn.raw }

func (w *wrapped) followed() *Conn { return &w.conn }

// The connections inside are one level deeper than wrapped, for its methods to be found
// first.
type (
	tlsConn struct {
		wrapped
		inTLS
	}
	inTLS struct{ *tls.Conn }

	statedConn struct {
		wrapped
		inStated
	}
	inStated struct{ stated }

	plainConn struct {
		wrapped
		inPlain
	}
	inPlain struct{ net.Conn }
)

// stated is what net/http from Go 1.27 on knows a TLS connection by.
type stated interface {
	net.Conn
	ConnectionState() tls.ConnectionState
}

// HandshakeContext is called by net/http if there is one.
func (c *statedConn) HandshakeContext(ctx context.Context) error {
	if h, ok := c.stated.(interface {
		HandshakeContext(context.Context) error
	}); ok {
		return h.HandshakeContext(ctx)
	}
	return nil
}

// Wrap returns a connection as its server is to get it from Accept: one by TLS if net/http
// serves HTTP/2 on any, and one without if h2c tells that it may be HTTP/2.
func (s *Set) Wrap(c net.Conn, h2c bool) net.Conn {
	switch inner := c.(type) {
	case *tls.Conn:
		if s.AtAccept() {
			return &tlsConn{wrapped{Conn{raw: c, set: s}}, inTLS{inner}}
		}
	case stated:
		if s.AtAccept() {
			return &statedConn{wrapped{Conn{raw: c, set: s}}, inStated{inner}}
		}
	default:
		if h2c {
			return &plainConn{wrapped{Conn{raw: c, set: s}}, inPlain{c}}
		}
	}
	return c
}

// Original returns the connection inside one that Wrap has returned, and any other as it
// is.
func Original(c net.Conn) net.Conn {
	if w, ok := c.(interface{ original() net.Conn }); ok {
		return w.original()
	}
	return c
}

// Of returns what follows a connection that Wrap has returned; nil if nothing does.
func Of(c net.Conn) *Conn {
	if w, ok := c.(interface{ followed() *Conn }); ok {
		return w.followed()
	}
	return nil
}

type contextKey struct{}

// NewContext returns a context from which FromContext gets c.
func NewContext(ctx context.Context, c *Conn) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// FromContext returns what follows the connection of a request; nil if nothing does.
func FromContext(ctx context.Context) *Conn {
	c, _ := ctx.Value(contextKey{}).(*Conn)
	return c
}

// Listener wraps what another one accepts.
type Listener struct {
	net.Listener
	Set *Set
}

// Accept is that of net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.Set.Wrap(c, false), nil
}
