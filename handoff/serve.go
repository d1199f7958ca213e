package handoff

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
)

// Server is what [Serve] can serve: an *http.Server, a *grpc.Server, and any
// other that serves a listener and has a Shutdown(context.Context) error or a
// GracefulStop().
type Server interface {
	Serve(net.Listener) error
}

// Serve makes a [Service] of a server and a listener of [Upgrader.Listen].
//
// An *http.Server is drained without the loss of a request, which its own
// Shutdown can't do: first it accepts no more, and goes on to answer, with
// "Connection: close" or, in HTTP/2, GOAWAY. A plain HTTP/1 connection that is idle,
// or has sent nothing so far, moves to the successor, and its client sees nothing of
// it; one that is busy does so after its answer. What can't move (TLS, HTTP/2, a
// successor that is another program) is sent away in turn: see Options.DrainSpread
// and Options.DrainIdle. When the service stops nobody moves, and what is idle has
// half a second for one more request. The server is
// gone as soon as the last connection is. For that, srv's Handler, BaseContext,
// ConnState and TLSNextProto are wrapped, so call Serve after they are set and
// before the server runs; it may be called for several listeners of one server. From
// Go 1.27 on, what Hijack returns of a TLS connection is no *tls.Conn but holds one as an
// embedded field.
// The connections that srv's hooks see hold a *net.TCPConn or *net.UnixConn as an
// embedded field of that name, have all its methods, and return it by a method
// NetConn, as *tls.Conn has it. Connections that a
// handler has hijacked are waited for too; [Draining] tells the handler. What srv's
// RegisterOnShutdown has registered runs when the drain begins, each in a goroutine of
// its own, as Shutdown would run it. (With a release of Go after 1.27 that may be at the
// end of the drain; methods of net/http's and golang.org/x/net's own types always are.)
//
// Another server's Shutdown(ctx), else its GracefulStop(), is called when the
// drain begins; a server with neither is waited for until its Serve returns. When
// ctx ends its Close() or Stop() is called, if it has one.
//
// A *grpc.Server needs no setting for the sake of the drain. Its GracefulStop waits
// for handshakes before it sends GOAWAY to anyone; so that a silent connection
// doesn't hold it up, what is in its handshake then has 2 s for the rest of it. In
// general, that is every connection whose first deadline is still the one that the
// server has set. The connections are a *net.TCPConn or *net.UnixConn embedded in
// another type, as above.
func Serve(srv Server, ln net.Listener) Service {
	if h, ok := srv.(*http.Server); ok {
		return serveHTTP(h, ln, true, h.Serve)
	}
	_, shutdowner := srv.(interface{ Shutdown(context.Context) error })
	if _, ok := srv.(interface{ GracefulStop() }); ok && !shutdowner {
		return serveGraceful(srv, ln)
	}
	served := make(chan struct{})
	return Service{
		Serve: func() error {
			defer close(served)
			return srv.Serve(ln)
		},
		Drain:   func(ctx context.Context) error { return shutdown(ctx, srv, served) },
		accepts: true,
	}
}

// ServeTLS is [Serve] for HTTPS, HTTP/2 included: ln is a plain listener of
// [Upgrader.Listen], and certFile and keyFile are as in [http.Server.ServeTLS]:
// both are empty if srv.TLSConfig has a certificate.
//
// Clients resume their sessions with the successor, see [Upgrader.ShareTicketKeys].
func ServeTLS(srv *http.Server, ln net.Listener, certFile, keyFile string) Service {
	if l, ok := ln.(*listener); ok && (srv.TLSConfig == nil || srv.TLSConfig.GetConfigForClient == nil) {
		config := &tls.Config{}
		if srv.TLSConfig != nil {
			config = srv.TLSConfig.Clone()
		}
		l.up.ShareTicketKeys(config)
		srv.TLSConfig = config
	}
	http2 := drainOf(srv).http2
	http2.OfferTLS(srv)
	return serveHTTP(srv, ln, false, func(ln net.Listener) error {
		if certFile != "" || keyFile != "" {
			// Named here, for ServeTLS's own error does not say which files.
			if _, err := tls.LoadX509KeyPair(certFile, keyFile); err != nil {
				return fmt.Errorf("certificate %s, key %s: %w", certFile, keyFile, err)
			}
		}
		return http2.ServeTLS(srv, ln, certFile, keyFile)
	})
}

// shutdown ends a server that is no *http.Server; served is closed when its Serve
// has returned.
func shutdown(ctx context.Context, srv Server, served <-chan struct{}) error {
	done := make(chan error, 1)
	switch s := srv.(type) {
	case interface{ Shutdown(context.Context) error }:
		go func() { done <- s.Shutdown(ctx) }()
	case interface{ GracefulStop() }:
		go func() { s.GracefulStop(); done <- nil }()
	default:
		go func() { <-served; done <- nil }()
	}
	select {
	case err := <-done:
		if err == nil || ctx.Err() == nil {
			return err
		}
	case <-ctx.Done():
	}
	switch s := srv.(type) {
	case interface{ Close() error }:
		return s.Close()
	case interface{ Stop() }:
		s.Stop()
	}
	return context.Cause(ctx)
}

// Draining returns a context that ends when the server of the request whose
// context ctx is accepts no more: its successor has taken over, or it stops. A
// handler of a long stream, or of a hijacked connection, ends what it does then,
// in the manner of its protocol; [context.AfterFunc] registers a function for
// that. It doesn't end with ctx, so it goes on telling after Hijack, and after the
// handler has returned. A client of a stream that has ended so goes on at the
// successor: over the same connection if that is plain HTTP/1.1, which moves like any
// other then. In any other context it never ends.
func Draining(ctx context.Context) context.Context {
	if d, ok := ctx.Value(drainingKey{}).(context.Context); ok {
		return d
	}
	return context.Background()
}

type drainingKey struct{}
