package goaway

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// Behaviour is what was seen of a server's HTTP/2.
type Behaviour struct {
	// Serves: it serves a connection that a Conn follows, and goes on when the first
	// GOAWAY is put among its frames.
	Serves bool
	// Answers: it answers a client's GOAWAY with its own, which names the last request.
	Answers bool
}

// serveFunc has the server serve a connection as if it were by TLS, until it is closed.
type serveFunc func(c stated, h http.Handler)

const checkTimeout = 5 * time.Second // for what takes 0.1 ms on a machine that isn't busy

// check tries a server out, by a connection in memory.
func check(serve serveFunc) (seen Behaviour) { return checkWithin(checkTimeout, serve) }

func checkWithin(limit time.Duration, serve serveFunc) (seen Behaviour) {
	inside, outside := net.Pipe()
	defer outside.Close()
	outside.SetDeadline(time.Now().Add(limit))
	set := &Set{seen: func() Behaviour { return Behaviour{true, true} }}
	asTLS := false
	go func() {
		defer inside.Close()
		c := &statedConn{wrapped{Conn{raw: inside, set: set}}, inStated{pretended{inside}}}
		serve(c, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			asTLS = r.ProtoMajor == 2 && r.TLS != nil
		}))
	}()
	c := newChecker(outside)
	defer close(c.writes)
	c.send(append([]byte(preface), 0, 0, 0, kindSettings, 0, 0, 0, 0, 0))
	if c.get(1); c.await(isEndOf(1)) != nil || !asTLS {
		return seen
	}
	set.Leave(func(float32) time.Duration { return 0 })
	if c.await(isGoAway(1<<31-1)) != nil {
		return seen
	}
	if c.get(3); c.await(isEndOf(3)) != nil {
		return seen
	}
	seen.Serves = true
	set.Dismiss()
	seen.Answers = c.await(isGoAway(3)) == nil
	return seen
}

// checker is an HTTP/2 client that knows what it needs to know.
type checker struct {
	conn   net.Conn
	frames frames
	writes chan []byte // beside what is being read, for a pipe has no buffer
}

func newChecker(conn net.Conn) *checker {
	c := &checker{conn: conn, writes: make(chan []byte, 8)}
	go func() {
		for p := range c.writes {
			conn.Write(p)
		}
	}()
	return c
}

func (c *checker) send(p []byte) { c.writes <- p }

// get sends a GET of the static table's fields (RFC 7541, A).
func (c *checker) get(stream byte) {
	c.send([]byte{0, 0, 3, kindHeaders, flagEndStream | flagEndHeaders, 0, 0, 0, stream, 0x82, 0x84, 0x87})
}

var errNoHTTP2 = errors.New("that is not HTTP/2")

type frame struct {
	kind, flags byte
	stream      uint32
	payload     []byte
}

func isEndOf(stream uint32) func(frame) bool {
	return func(f frame) bool {
		return f.kind <= kindHeaders && f.stream == stream && f.flags&flagEndStream != 0
	}
}

func isGoAway(last uint32) func(frame) bool {
	return func(f frame) bool {
		return f.kind == kindGoAway && len(f.payload) == 8 && binary.BigEndian.Uint32(f.payload) == last && binary.BigEndian.Uint32(f.payload[4:]) == 0
	}
}

// await reads until a frame that is wanted.
func (c *checker) await(wanted func(frame) bool) error {
	for {
		var head [headerLen]byte
		if _, err := io.ReadFull(c.conn, head[:]); err != nil {
			return err
		}
		if c.frames.next(head[:]); c.frames.alien || c.frames.rest > 1<<14 {
			return errNoHTTP2
		}
		f := frame{head[3], head[4], binary.BigEndian.Uint32(head[5:]), make([]byte, c.frames.rest)}
		if _, err := io.ReadFull(c.conn, f.payload); err != nil {
			return err
		}
		if c.frames.next(f.payload); wanted(f) {
			return nil
		}
		if f.kind == kindGoAway {
			return errNoHTTP2
		}
	}
}

// pretended is a connection that says that it is by TLS.
type pretended struct{ net.Conn }

func (pretended) ConnectionState() tls.ConnectionState {
	return tls.ConnectionState{
		Version:            tls.VersionTLS13,
		HandshakeComplete:  true,
		CipherSuite:        tls.TLS_AES_128_GCM_SHA256,
		NegotiatedProtocol: "h2",
	}
}

var discard = log.New(io.Discard, "", 0)

// serveAny serves a connection by a server that gets it from Accept.
func serveAny(c stated, h http.Handler) {
	l := &oneConn{conn: c, closed: make(chan struct{})}
	closed := make(chan struct{})
	srv := &http.Server{Handler: h, ErrorLog: discard, ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			close(closed)
		}
	}}
	go srv.Serve(l)
	<-closed
	l.Close()
}

// oneConn accepts one connection.
type oneConn struct {
	noConn
	conn   net.Conn
	taken  bool
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if !l.taken {
		l.taken = true
		return l.conn, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

// Close is called by this package and by Serve.
func (l *oneConn) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

// noConn is a listener without connections.
type noConn struct{}

func (noConn) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (noConn) Close() error              { return nil }
func (noConn) Addr() net.Addr            { return &net.TCPAddr{} }
