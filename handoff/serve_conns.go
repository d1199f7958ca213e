package handoff

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/handoff-dev/handoff/internal/shortage"
)

// ServeConn serves one connection of a protocol of one's own, for
// [Upgrader.ServeConns]. state is what the connection was left with in an older
// generation, nil for one that is new; if the state was empty, it is not nil.
//
// When ctx ends, the connection has to leave this generation. ServeConn answers the
// question whether it may, and with what state: it returns soon, at a point where the
// protocol allows it, with true and all that the next generation has to know, what was
// read and not answered included. A connection that may not move is served on to its
// own end, and Options.DrainTimeout cuts it off. False says that it has ended. The cause of ctx is [ErrHandedOver], or
// [ErrStopping] when there is no next generation; it is too late for a move then. The
// connection is closed when ServeConn has returned, unless it has moved.
//
// A blocked Read is woken by a deadline in the past:
//
//	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
//	defer stop()
//
// If the successor did not take the connection, ServeConn is called again with the
// state that it has just returned, and without deadlines, to serve it to its end: ctx
// ends with the drain then, and what is returned doesn't count.
type ServeConn func(ctx context.Context, conn net.Conn, state []byte) (next []byte, move bool)

// ServeConns makes a [Service] of a listener of [Upgrader.Listen] whose connections
// stay connected through upgrades: serve is called for each, in a goroutine of its
// own. Where there is no descriptor left for a connection it waits, as net/http does, and
// goes on. For connections that have to do with each other, see [Upgrader.Move] and
// [Upgrader.Settled].
func (u *Upgrader) ServeConns(ln net.Listener, serve ServeConn) Service {
	s := &connServer{up: u, ln: ln, serve: serve, accepted: make(chan struct{})}
	s.leave, s.begin = context.WithCancelCause(context.Background())
	return Service{Serve: s.accept, Drain: s.drain, conns: &s.conns, accepts: true}
}

type connServer struct {
	up       *Upgrader
	ln       net.Listener
	serve    ServeConn
	conns    connSet
	serving  sync.WaitGroup
	accepted chan struct{} // closed when no more are accepted

	leave context.Context // ends when the drain begins
	begin context.CancelCauseFunc
	limit context.Context // of the drain; set before leave ends
}

func (s *connServer) accept() error {
	defer close(s.accepted)
	var pause shortage.Pause
	for {
		conn, err := s.ln.Accept()
		if err != nil {
			if !pause.Begun() && shortage.Passes(err) {
				s.up.log.Warn("accepting a connection; trying again", "error", err)
			}
			if pause.Wait(err, s.up.draining) {
				continue
			}
			return err
		}
		pause.Over()
		state, moved := StateOf(conn)
		if moved && state == nil {
			state = []byte{}
		}
		s.conns.add(conn)
		s.serving.Go(func() {
			defer s.conns.remove(conn)
			defer conn.Close()
			s.run(conn, state)
		})
	}
}

func (s *connServer) run(conn net.Conn, state []byte) {
	next, move := s.serve(s.leave, conn, state)
	if !move || !errors.Is(context.Cause(s.leave), ErrHandedOver) {
		return
	}
	err := s.up.Move(s.limit, s.ln, conn, next)
	if err == nil || s.limit.Err() != nil {
		return
	}
	s.up.log.Warn("a connection stays until its end", "remote", conn.RemoteAddr(), "error", err)
	if next == nil {
		next = []byte{}
	}
	if err := conn.SetDeadline(time.Time{}); err == nil {
		s.serve(s.limit, conn, next)
	}
}

// drain returns when all connections have left or ended.
func (s *connServer) drain(ctx context.Context) error {
	s.limit = ctx
	why := ErrHandedOver
	if s.up.stopped() {
		why = ErrStopping
	}
	s.begin(why)
	over := make(chan struct{})
	go func() {
		<-s.accepted
		s.serving.Wait()
		close(over)
	}()
	select {
	case <-over:
		s.up.MovedAll(s.ln)
		return nil
	case <-ctx.Done():
	}
	n := s.conns.len()
	s.conns.close()
	return fmt.Errorf("handoff: %d connections were cut: %w", n, context.Cause(ctx))
}
