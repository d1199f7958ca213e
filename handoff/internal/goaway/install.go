package goaway

import (
	"context"
	"crypto/tls"
	"maps"
	"net"
	"net/http"
	"reflect"
	"sync"
)

// A server's protocols as of http.Server.TLSNextProto. overPlain is how net/http up to
// Go 1.26, and golang.org/x/net/http2, serve HTTP/2 on a net.Conn: it is in a *tls.Conn whose
// NetConn has a method UnencryptedNetConn, and the client's preface has been read from
// it.
const (
	overTLS   = "h2"
	overPlain = "unencrypted_http2"
)

type serveProto = func(*http.Server, *tls.Conn, http.Handler)

// Install makes the set of a server that doesn't run yet. In net/http up to Go 1.26, and
// for a server that was configured by golang.org/x/net/http2, it sets srv.TLSNextProto.
// What the server accepts is to be given to [Set.Wrap] or [Set.Follow].
func Install(srv *http.Server) *Set { return InstallAs(srv, nil) }

// InstallAs is Install for tests: seen, if not nil, is what is seen of the server.
func InstallAs(srv *http.Server, seen func() Behaviour) *Set {
	own := srv.TLSNextProto
	s := &Set{seen: native}
	scratch := &http.Server{Protocols: srv.Protocols, TLSNextProto: maps.Clone(own)}
	if own[overTLS] != nil {
		scratch = &http.Server{}
	}
	_ = scratch.Serve(noConn{}) // sets up HTTP/2, and finds nothing to serve
	its := scratch.TLSNextProto
	switch {
	case own[overTLS] != nil && own[overPlain] != nil: // golang.org/x/net's
		s.seen = sync.OnceValue(func() Behaviour { return check(serveHidden(own[overPlain])) })
		srv.TLSNextProto = s.hook(own)
	case its[overTLS] == nil: // none
	case own[overTLS] == nil && its[overPlain] != nil: // up to Go 1.26
		srv.TLSNextProto = s.hook(its)
	case len(own) == 0 || len(own) == 1 && sameFunc(own[overTLS], its[overTLS]):
		s.atAccept = true // from Go 1.27 on, also if golang.org/x/net has configured it
	default:
		s.foreign = true
	}
	if seen != nil {
		s.seen = seen
	}
	srv.RegisterOnShutdown(s.Dismiss)
	go s.seen()
	return s
}

// native is what is seen of net/http's HTTP/2.
var native = sync.OnceValue(func() Behaviour {
	scratch := &http.Server{}
	_ = scratch.Serve(noConn{})
	switch its := scratch.TLSNextProto; {
	case its[overTLS] == nil: // switched off, by GODEBUG or when the program was built
		return Behaviour{}
	case its[overPlain] != nil:
		return check(serveHidden(its[overPlain]))
	}
	return check(serveAny)
})

// sameFunc tells whether two functions that are no closures are the same. net/http has a
// function in TLSNextProto that is not to be called, and only says that it speaks
// HTTP/2 itself; golang.org/x/net has it put there too.
func sameFunc(a, b serveProto) bool {
	return a != nil && b != nil && reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
}

// AtAccept tells whether HTTP/2 over TLS is served on connections that Wrap has returned.
// It may have to wait until that has been tried out.
func (s *Set) AtAccept() bool { return s.atAccept && s.seen().Serves }

// Follows tells whether all HTTP/2 connections are followed, but for those that are hijacked
// and begin in another way than HTTP/2.
func (s *Set) Follows() bool { return !s.foreign && s.seen().Serves }

// hook returns protos with connections of HTTP/2 over TLS followed.
func (s *Set) hook(protos map[string]serveProto) map[string]serveProto {
	protos = maps.Clone(protos)
	direct, hidden := protos[overTLS], protos[overPlain]
	protos[overTLS] = func(srv *http.Server, c *tls.Conn, h http.Handler) {
		if !s.seen().Serves {
			direct(srv, c, h)
			return
		}
		w := &tlsConn{wrapped{Conn{raw: c, set: s, strip: true}}, inTLS{c}}
		hidden(srv, hide(w), withContext(h, &w.conn))
	}
	return protos
}

// serveHidden makes a serveFunc of the function for overPlain.
func serveHidden(serve serveProto) serveFunc {
	return func(c stated, h http.Handler) {
		c.(*statedConn).conn.strip = true
		serve(&http.Server{ErrorLog: discard}, hide(c), h)
	}
}

// hide puts a connection into a *tls.Conn.
func hide(c net.Conn) *tls.Conn { return tls.Client(carrier{c, c}, nil) }

type carrier struct {
	net.Conn
	carried net.Conn
}

func (c carrier) UnencryptedNetConn() net.Conn { return c.carried }

// baseContexter is what net/http hands to TLSNextProto, for HTTP/2 to know the context.
type baseContexter interface {
	http.Handler
	BaseContext() context.Context
}

type handlerWithContext struct {
	baseContexter
	ctx context.Context
}

func (h handlerWithContext) BaseContext() context.Context { return h.ctx }

// withContext has FromContext find c.
func withContext(h http.Handler, c *Conn) http.Handler {
	b, ok := h.(baseContexter)
	if !ok {
		return h
	}
	return handlerWithContext{b, NewContext(b.BaseContext(), c)}
}
