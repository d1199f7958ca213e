package handoff

import (
	"context"
	"crypto/tls"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"
)

// goAwayNotice is the time between the two GOAWAY frames of RFC 9113, 6.8: the first
// asks the client to go, the second says which of its requests were the last. What
// the client has sent before it heard of the first is answered, so this is to be a
// round trip or more.
const goAwayNotice = time.Second

// goAway tells the clients of a part of a server's HTTP/2 connections to go elsewhere. net/http sends but
// the second GOAWAY, and ignores what is on its way to it at that time; a client
// can't send it again unless it has kept the body. So the first one is put between
// net/http's frames here, see http2Conn.
type goAway struct {
	// twin has no connections of its own, but its Shutdown sends GOAWAY on those of
	// the real server, which the Shutdown of that can't do without closing the idle
	// HTTP/1 connections too. It works because net/http lets one server's HTTP/2
	// code, which has the list of connections, serve another's
	// (http.Server.TLSNextProto).
	twin *http.Server
	// direct: net/http has a way to serve a net.Conn. Without one there is the second
	// GOAWAY alone.
	direct bool
	once   sync.Once // for the twin's HTTP/2, see setUp

	mu       sync.Mutex
	conns    map[*http2Conn]struct{}
	draining bool
}

// goAwaySteps is into how many parts a server's HTTP/2 connections are divided, to be
// sent away one after the other.
const goAwaySteps = 32

// newGoAways returns nil if srv has no HTTP/2, or brings its own implementation; there
// the header that ServeHTTP sets asks the client to go, at the next request.
func newGoAways(srv *http.Server) (all []*goAway) {
	if srv.TLSNextProto != nil {
		return nil
	}
	for range goAwaySteps {
		twin := &http.Server{
			Protocols:   srv.Protocols,
			HTTP2:       srv.HTTP2,
			IdleTimeout: srv.IdleTimeout,
			ReadTimeout: srv.ReadTimeout,
			ErrorLog:    srv.ErrorLog,
		}
		all = append(all, &goAway{twin: twin, conns: make(map[*http2Conn]struct{})})
	}
	all[0].setUp()
	if len(all[0].twin.TLSNextProto) == 0 {
		return nil
	}
	for _, g := range all {
		g.direct = all[0].twin.TLSNextProto[plainHTTP2] != nil
	}
	srv.TLSNextProto = make(map[string]func(*http.Server, *tls.Conn, http.Handler))
	for proto := range all[0].twin.TLSNextProto {
		srv.TLSNextProto[proto] = func(srv *http.Server, c *tls.Conn, h http.Handler) {
			if s := servedBy(c); s != nil {
				s.http2.Store(true)
			}
			all[rand.N(len(all))].serveAs(proto, srv, c, h)
		}
	}
	return all
}

// setUp has the twin set up HTTP/2. It waits for the first connection, for all of
// them at once would add half a millisecond to a start.
func (g *goAway) setUp() {
	g.once.Do(func() { _ = g.twin.Serve(closedListener{}) }) // which finds nothing to serve
}

// serve serves a net.Conn, if it is direct.
func (g *goAway) serve(srv *http.Server, c *tls.Conn, h http.Handler) {
	g.twin.TLSNextProto[plainHTTP2](srv, c, h)
}

// serveAs serves a connection that speaks a protocol of http.Server.TLSNextProto.
func (g *goAway) serveAs(proto string, srv *http.Server, c *tls.Conn, h http.Handler) {
	g.setUp()
	switch {
	case g.direct && proto == "h2":
		g.serveTLS(srv, c, h)
	case g.direct && proto == plainHTTP2:
		g.servePlain(srv, c, h)
	default:
		g.twin.TLSNextProto[proto](srv, c, h)
	}
}

// plainHTTP2 is how net/http hands a connection without TLS to its HTTP/2 code, which
// golang.org/x/net relies on: in a *tls.Conn whose NetConn has a method
// UnencryptedNetConn. The client's preface has been read from it.
const plainHTTP2 = "unencrypted_http2"

type plainCarrier struct {
	net.Conn
	carried net.Conn
}

func (c plainCarrier) UnencryptedNetConn() net.Conn { return c.carried }

func (g *goAway) serveTLS(srv *http.Server, c *tls.Conn, h http.Handler) {
	w := &http2TLSConn{http2Conn: http2Conn{Conn: c, set: g, preface: len(http2Preface)}, tls: c}
	g.add(&w.http2Conn)
	g.serve(srv, tls.Client(plainCarrier{c, w}, nil), h)
}

func (g *goAway) servePlain(srv *http.Server, c *tls.Conn, h http.Handler) {
	carrier, ok := c.NetConn().(interface{ UnencryptedNetConn() net.Conn })
	if !ok {
		g.serve(srv, c, h)
		return
	}
	w := &http2Conn{Conn: carrier.UnencryptedNetConn(), set: g}
	g.add(w)
	g.serve(srv, tls.Client(plainCarrier{w.Conn, w}, nil), h)
}

// tells reports whether the clients are told without the help of an answer.
func (d *httpDrain) tells(r *http.Request) bool {
	return len(d.goAway) > 0 && d.goAway[0].direct && r.ProtoMajor == 2
}

// drain sends the first GOAWAY, and the second when the time has come or nobody has
// the patience to wait for it. Another call does nothing.
func (g *goAway) drain(patience context.Context) {
	g.mu.Lock()
	if g.draining {
		g.mu.Unlock()
		return
	}
	g.draining = true
	for c := range g.conns {
		go c.leave()
	}
	g.mu.Unlock()
	if g.direct {
		ctx, cancel := context.WithTimeout(patience, goAwayNotice)
		<-ctx.Done()
		cancel()
	}
	g.dismiss()
}

// dismiss sends the second GOAWAY to all.
func (g *goAway) dismiss() { _ = g.twin.Shutdown(context.Background()) }

func (g *goAway) add(c *http2Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns[c] = struct{}{}
	if g.draining {
		go c.leave()
		time.AfterFunc(goAwayNotice, g.dismiss)
	}
}

func (g *goAway) remove(c *http2Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, c)
}
