package handoff

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/goaway"
	"github.com/handoff-dev/handoff/handoff/internal/onshutdown"
)

// httpDrain drains one http.Server. It never calls the server's Shutdown while a
// client may be about to send a request: Shutdown closes idle connections at
// once, and with them requests that are on their way.
type httpDrain struct {
	srv      *http.Server
	next     http.Handler
	draining atomic.Bool
	began    context.Context // ends when the drain begins
	begin    context.CancelFunc
	http2    *goaway.Set // the HTTP/2 connections
	farewell atomic.Pointer[farewell]
	conns    connSet
	serving  sync.WaitGroup // calls of Serve that have not returned
	up       *Upgrader      // of listeners whose connections can move; nil if there is none

	late      sync.Once
	lateConns chan net.Conn // to be served here though the listeners are closed
	lateEnd   chan struct{} // closed when there can be none
	lateGone  chan struct{} // closed when none is accepted any more

	once sync.Once
	err  error
}

// serveHTTP makes a Service of a server and a listener; serve is what runs it.
// Connections can move between generations if net/http itself reads from the
// socket, which under TLS it doesn't.
func serveHTTP(srv *http.Server, ln net.Listener, plain bool, serve func(net.Listener) error) Service {
	d := drainOf(srv)
	d.serving.Add(1)
	counted := &countedListener{Listener: ln, conns: &d.conns, home: d.conns.serves(ln), http2: d.http2}
	counted.h2c = srv.Protocols != nil && srv.Protocols.UnencryptedHTTP2()
	if l, ok := ln.(*listener); ok && plain {
		counted.origin = l
		d.receiveAt(l)
	}
	return Service{
		Serve: func() error {
			defer d.serving.Done()
			return serve(counted)
		},
		Drain:   d.drain,
		conns:   &d.conns,
		accepts: true,
	}
}

// receiveAt lets connections of older generations come in at a listener.
func (d *httpDrain) receiveAt(l *listener) {
	l.up.mu.Lock()
	defer l.up.mu.Unlock()
	d.up = l.up
	l.drain = d
	l.up.lobbies = append(l.up.lobbies, l)
	l.lobby = &lobby{
		conns: &d.conns,
		limit: func(fresh bool) time.Duration {
			if fresh && d.srv.ReadHeaderTimeout != 0 {
				return d.srv.ReadHeaderTimeout
			}
			if !fresh && d.srv.IdleTimeout != 0 {
				return d.srv.IdleTimeout // as net/http has it
			}
			return d.srv.ReadTimeout
		},
		ready: func(c net.Conn, w wait) {
			if !l.deliver(c, w) {
				d.serveLate(c, l, w)
			}
		},
	}
}

// serveLate serves a connection that has come too late for its listener, from
// which it may leave again, or one that has come back, which stays: from is nil.
func (d *httpDrain) serveLate(c net.Conn, from *listener, w wait) {
	d.late.Do(func() {
		d.lateConns, d.lateGone = make(chan net.Conn), make(chan struct{})
		go func() {
			defer close(d.lateGone)
			d.srv.Serve(&lateListener{conns: d.lateConns, end: d.lateEnd, closed: make(chan struct{})})
		}()
	})
	c = d.conns.wrap(c, from, w)
	d.conns.add(c)
	select {
	case d.lateConns <- c:
	case <-d.lateGone: // at the end, or after the server's Shutdown
		c.Close()
	}
}

// lateListener accepts what it is given.
type lateListener struct {
	closedListener
	conns  <-chan net.Conn
	end    <-chan struct{}
	closed chan struct{}
}

// Close ends Accept, which Shutdown waits for, however long that takes. Serve sees
// to it that it is called once.
func (l *lateListener) Close() error {
	close(l.closed)
	return nil
}

func (l *lateListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.end:
		return nil, net.ErrClosed
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// drainOf returns the drain of a server, which it has from its first Service on.
func drainOf(srv *http.Server) *httpDrain {
	if d, ok := srv.Handler.(*httpDrain); ok {
		return d
	}
	return newHTTPDrain(srv, goaway.Install(srv))
}

func newHTTPDrain(srv *http.Server, http2 *goaway.Set) *httpDrain {
	d := &httpDrain{srv: srv, next: srv.Handler, http2: http2, lateEnd: make(chan struct{})}
	d.conns.http2 = http2
	http2.Begun = func(c net.Conn) {
		if served := servedBy(c); served != nil {
			served.http2.Store(true)
			_ = served.idle.bypass() // it stays, whatever it reads into
		}
	}
	if d.next == nil {
		d.next = http.DefaultServeMux
	}
	srv.Handler = d
	d.began, d.begin = context.WithCancel(context.Background())
	base := srv.BaseContext
	srv.BaseContext = func(ln net.Listener) context.Context {
		ctx := context.Background()
		if base != nil {
			ctx = base(ln)
		}
		return context.WithValue(ctx, drainingKey{}, d.began)
	}
	enter := srv.ConnContext
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if followed := goaway.Of(c); followed != nil {
			ctx = goaway.NewContext(ctx, followed)
			c = goaway.Original(c)
		}
		if served := servedBy(c); served != nil {
			ctx = context.WithValue(ctx, servedKey{}, served)
		} else if !http2.Follows() {
			ctx = context.WithValue(ctx, streamsKey{}, &streams{})
		}
		if enter != nil {
			ctx = enter(ctx, c)
		}
		return ctx
	}
	hook := srv.ConnState
	srv.ConnState = func(c net.Conn, state http.ConnState) {
		c = goaway.Original(c)
		d.conns.state(c, state)
		if hook != nil {
			hook(c, state)
		}
	}
	return d
}

// servedKey is the context's key of the connection.
type servedKey struct{}

// ServeHTTP tells the clients of a server that drains to go elsewhere for their
// next request. In HTTP/2 net/http makes GOAWAY of the header.
func (d *httpDrain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.conns.requests.Add(1)
	if r.ProtoMajor == 2 && !d.http2.Follows() {
		s := streamsOf(r)
		s.enter()
		defer s.leave()
	}
	switch {
	case !d.draining.Load() || !d.isLast(r):
	case r.ProtoMajor == 1 && r.Header.Get("Upgrade") != "":
		if a := newUpgradeAnswer(w); a != nil {
			defer a.end()
			w = a
		}
	default:
		w.Header().Set("Connection", "close")
	}
	d.next.ServeHTTP(w, r)
}

// isLast tells whether the answer to a request is to tell the client to go.
func (d *httpDrain) isLast(r *http.Request) bool {
	c, _ := r.Context().Value(servedKey{}).(*servedConn)
	if r.ProtoMajor == 2 {
		followed := goaway.FromContext(r.Context())
		if followed == nil && c != nil {
			followed = c.frames.Load()
		}
		if followed.Tells() {
			return followed.Overdue()
		}
		if f := d.farewell.Load(); f != nil && time.Since(f.begun) < f.limit/2 && streamsOf(r).busy() {
			return false
		}
	}
	return c == nil || c.dismiss(d.farewell.Load())
}

// drain returns when the last connection has ended, or the context and with it
// all connections.
func (d *httpDrain) drain(ctx context.Context) error {
	d.once.Do(func() { d.err = d.run(ctx) })
	return d.err
}

func (d *httpDrain) run(ctx context.Context) error {
	defer close(d.lateEnd)
	if m := d.up.movedTo(); m != nil {
		d.conns.move(m) // first, so that nobody is told to reconnect who need not
	}
	hurry := d.plan(ctx) // before anybody is answered by it
	d.draining.Store(true)
	d.begin()
	hooks, known := onshutdown.Take(d.srv)
	for _, f := range hooks {
		go f() // as Shutdown does
	}
	bidding, bid := context.WithCancel(patience(ctx))
	defer bid()
	go d.bid(bidding, hurry)
	over := d.over()
	select {
	case <-over:
		if !known {
			return d.srv.Shutdown(ctx) // for the sake of the hooks
		}
		return nil
	case <-patience(ctx).Done():
	case <-ctx.Done():
	}
	// From here on what is idle may be closed.
	d.http2.Dismiss() // hijacked ones too, which Shutdown doesn't know
	d.conns.dismissGuests()
	if err := d.srv.Shutdown(ctx); err == nil {
		select { // hijacked connections are not Shutdown's
		case <-over:
			return nil
		case <-ctx.Done():
		}
	}
	n := d.conns.len()
	err := d.srv.Close()
	d.conns.close()
	return errors.Join(fmt.Errorf("handoff: %d connections were cut: %w", n, context.Cause(ctx)), err)
}

// over returns a channel that is closed when the last connection has ended. The
// listeners are closed, and what was accepted last is counted when Serve has
// returned. That may take its time: a listener that limits the number of its
// connections doesn't see that it is closed as long as it waits for one to end.
func (d *httpDrain) over() <-chan struct{} {
	over := make(chan struct{})
	go func() {
		d.serving.Wait()
		<-d.conns.none()
		close(over)
	}()
	return over
}

type closedListener struct{}

func (closedListener) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (closedListener) Close() error              { return nil }
func (closedListener) Addr() net.Addr            { return &net.TCPAddr{} }
