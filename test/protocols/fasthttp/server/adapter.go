package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/handoff-dev/handoff/handoff"
)

// service has srv serve the connections of ln, a listener of up.Listen, and move them
// to the successor between two requests. Call it after srv's fields are set; it wraps
// Handler and ConnState. TLS can't move, and MaxConnsPerIP hides the connection, which
// then stays.
func service(up *handoff.Upgrader, srv *fasthttp.Server, ln net.Listener) handoff.Service {
	hook, handler := srv.ConnState, srv.Handler
	srv.ConnState = func(conn net.Conn, state fasthttp.ConnState) {
		if c, ok := conn.(*movable); ok {
			c.state(state)
		}
		if hook != nil {
			hook(conn, state)
		}
	}
	srv.Handler = func(ctx *fasthttp.RequestCtx) {
		handler(ctx)
		if c, ok := ctx.Conn().(*movable); ok && c.last.Load() {
			ctx.SetConnectionClose()
		}
	}
	wait := srv.IdleTimeout // as fasthttp has it
	if wait == 0 {
		wait = srv.ReadTimeout
	}
	own := strconv.Itoa(up.Generation())
	return up.ServeConns(ln, func(ctx context.Context, conn net.Conn, state []byte) (next []byte, move bool) {
		c := &movable{Conn: conn, fresh: true, closed: make(chan struct{})}
		if string(state) == own { // the successor has not taken it
			c.last.Store(true)
		}
		defer context.AfterFunc(ctx, func() {
			if errors.Is(context.Cause(ctx), handoff.ErrStopping) { // time for one more request
				c.last.Store(true)
				time.Sleep(500 * time.Millisecond)
			}
			c.leave()
		})()
		// One that has moved is idle, and not new as fasthttp would have it.
		if state == nil || c.awaitRequest(wait) == nil {
			_ = srv.ServeConn(c) // the error is about the client
			if c.hijacked {
				<-c.closed
			}
		}
		return []byte(own), c.leaving
	})
}

// movable is a connection that fasthttp serves. It can leave when nothing of a request
// has been read from it that isn't answered, and that is so whenever fasthttp begins to
// read and has not read a byte yet or has said StateIdle last: it says that after each
// answer, and reads then only if its buffer is empty, which it has flushed all answers
// for.
type movable struct {
	net.Conn
	last     atomic.Bool   // the next answer is to be the last
	closed   chan struct{} // by Close
	closing  sync.Once
	hijacked bool
	ahead    []byte // what awaitRequest has read

	mu       sync.Mutex
	fresh    bool      // nothing was read
	idle     bool      // fasthttp has said so, and nothing was read since
	waiting  bool      // a Read is under way that may be given up
	wanted   bool      // the connection is to leave
	woken    bool      // the deadline is one that wakes that Read
	leaving  bool      // that Read was given up
	deadline time.Time // fasthttp's
}

func (c *movable) state(state fasthttp.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = state == fasthttp.StateIdle
	if state == fasthttp.StateHijacked {
		c.hijacked = true
	}
}

func (c *movable) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted = true
	if c.waiting && !c.woken {
		c.woken = true
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
	}
}

func (c *movable) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	c.mu.Lock()
	c.waiting = c.fresh || c.idle
	if c.waiting && c.wanted {
		c.leaving = true
		c.mu.Unlock()
		return 0, io.EOF
	}
	c.mu.Unlock()

	n, err := c.Conn.Read(p)

	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = false
	if n > 0 {
		c.fresh, c.idle = false, false
	}
	if !c.woken {
		return n, err
	}
	c.woken = false
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		c.leaving = true
		return 0, io.EOF // fasthttp says nothing to a client that has gone
	}
	// A request came at that very moment. It is served, then the connection leaves.
	if derr := c.Conn.SetReadDeadline(c.deadline); err == nil {
		err = derr
	}
	return n, err
}

// awaitRequest waits for the first byte of the next request.
func (c *movable) awaitRequest(limit time.Duration) error {
	if limit > 0 {
		if err := c.SetReadDeadline(time.Now().Add(limit)); err != nil {
			return err
		}
	}
	var first [1]byte
	n, err := c.Read(first[:])
	if err != nil {
		return err
	}
	c.ahead = first[:n]
	return c.SetReadDeadline(time.Time{})
}

func (c *movable) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	if c.woken {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *movable) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// Close leaves the connection open for its successor if that is where it goes.
func (c *movable) Close() error {
	c.closing.Do(func() { close(c.closed) })
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving {
		return nil
	}
	return c.Conn.Close()
}

// ReadFrom keeps sendfile(2) for files.
func (c *movable) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }
