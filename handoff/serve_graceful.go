package handoff

import (
	"context"
	"net"
	"slices"
	"time"
)

// handshakeTime is what connections that are new when the drain begins have for
// their handshake.
const handshakeTime = 2 * time.Second

// gracefulDrain drains a server that has a GracefulStop, as grpc-go's has it. That
// has two weaknesses: it closes connections that were accepted a moment before,
// where the client takes the server for unavailable and the call fails; and it waits
// for every handshake, for two minutes by default, before it tells any client to go
// elsewhere. One connection that says nothing would so keep all others, until they
// are cut at the end of the drain.
//
// Hence it is called when the server has begun with each connection, and handshakes
// have handshakeTime from then on.
type gracefulDrain struct {
	srv    Server
	served chan struct{} // closed when Serve has returned
	conns  connSet
}

func serveGraceful(srv Server, ln net.Listener) Service {
	d := &gracefulDrain{srv: srv, served: make(chan struct{})}
	home := d.conns.serves(ln)
	return Service{
		Serve: func() error {
			defer close(d.served)
			return srv.Serve(&countedListener{Listener: ln, conns: &d.conns, home: home})
		},
		Drain:   d.drain,
		conns:   &d.conns,
		accepts: true,
	}
}

func (d *gracefulDrain) drain(ctx context.Context) error {
	d.awaitBegun(ctx)
	end := time.Now().Add(handshakeTime)
	for _, c := range d.accepted() {
		c.idle.limitHandshake(end)
	}
	return shutdown(ctx, d.srv, d.served)
}

// awaitBegun waits until the server accepts no more, and has done something with
// each connection that it has accepted; it normally does so at once.
func (d *gracefulDrain) awaitBegun(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	select {
	case <-d.served: // its listener is closed
	case <-ctx.Done():
		return
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	fresh := func(c *servedConn) bool { return !c.idle.isBegun() }
	for slices.ContainsFunc(d.accepted(), fresh) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// accepted returns the open connections.
func (d *gracefulDrain) accepted() (all []*servedConn) {
	for _, c := range d.conns.all() {
		switch c := c.(type) {
		case *tcpConn:
			all = append(all, &c.servedConn)
		case *unixConn:
			all = append(all, &c.servedConn)
		}
	}
	return all
}

// isBegun tells whether the server has done anything with the connection.
func (i *idleness) isBegun() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.deadlines > 0 || i.size > 0
}

// limitHandshake has a handshake end at t, if the connection is in one: the first
// deadline that the server has set is there still.
func (i *idleness) limitHandshake(t time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.deadlines == 1 && i.deadline.After(t) {
		_ = i.setDeadline(t) // it fails only where the handshake has ended
	}
}
