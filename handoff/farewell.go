package handoff

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"time"
)

// farewell is how a generation that has handed over takes leave of clients whose
// connections can't move: each in its turn, and not all at one instant, for all of
// them will connect to the successor next.
type farewell struct {
	begun  time.Time
	spread time.Duration // over which the turns are
	idle   time.Duration // from its turn on, until a connection that is idle is closed
	limit  time.Duration // Options.DrainTimeout
}

// Of Options.DrainSpread's and Options.DrainIdle's zero values.
const (
	spreadFrom   = 100              // fewer connections are no crowd
	spreadEach   = time.Millisecond // for a connection
	spreadAtMost = 2                // the part of DrainTimeout
	drainReserve = 10               // the part of DrainTimeout in which nothing is closed by plan
)

// newFarewell plans that of n connections.
func newFarewell(opts Options, n int) *farewell {
	f := &farewell{begun: time.Now(), spread: opts.DrainSpread, idle: opts.DrainIdle, limit: opts.DrainTimeout}
	switch {
	case f.spread == 0 && n > spreadFrom:
		f.spread = min(time.Duration(n)*spreadEach, opts.DrainTimeout/spreadAtMost)
	case f.spread < 0:
		f.spread = 0
	}
	if f.idle == 0 {
		f.idle = max(0, opts.DrainTimeout-opts.DrainTimeout/drainReserve-f.spread)
	}
	return f
}

// after returns how long after the beginning it is a connection's turn. A nil
// farewell has no patience.
func (f *farewell) after(turn float32) time.Duration {
	if f == nil {
		return 0
	}
	return time.Duration(float64(turn) * float64(f.spread))
}

// due tells whether it has been a connection's turn.
func (f *farewell) due(turn float32) bool {
	return f == nil || time.Since(f.begun) >= f.after(turn)
}

// late tells whether it is time to tell a client to go that talks on a connection which
// could have moved so far. It is, if another pause like its last one would go beyond half
// of the time: there may be no answer after that. A nil farewell has no patience.
func (f *farewell) late(pause time.Duration) bool {
	return f == nil || time.Since(f.begun)+pause >= f.limit/2
}

// step is how often to look for what has been idle for too long: often enough for
// the spread, and not so often that thousands of connections are a burden.
func (f *farewell) step() time.Duration {
	shortest := f.spread
	if shortest == 0 || f.idle > 0 && f.idle < shortest {
		shortest = f.idle
	}
	return min(max(shortest/50, 5*time.Millisecond), 100*time.Millisecond)
}

// farewellKey is the key of the farewellTerms in the context of a drain after which
// there is a successor.
type farewellKey struct{}

type farewellTerms struct {
	opts  Options
	hurry <-chan struct{} // closed when there is no time for turns any more
}

// plan plans the farewell; there is none where nobody gains from it.
func (d *httpDrain) plan(ctx context.Context) (hurry <-chan struct{}) {
	terms, ok := ctx.Value(farewellKey{}).(farewellTerms)
	if ok {
		d.farewell.Store(newFarewell(terms.opts, d.conns.staying()))
	}
	return terms.hurry
}

// bid says farewell to connections until ctx ends: to HTTP/2 by GOAWAY, and to what
// is idle by closing it. What is not idle hears of it with its next answer.
func (d *httpDrain) bid(ctx context.Context, hurry <-chan struct{}) {
	f := d.farewell.Load()
	if f == nil {
		d.sendGoAway()
		return
	}
	d.http2.Leave(func(turn float32) time.Duration { return time.Until(f.begun.Add(f.after(turn))) })
	tick := time.NewTicker(f.step())
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.expel(f)
			continue
		case <-hurry:
		case <-ctx.Done():
		}
		d.farewell.Store(nil)
		d.sendGoAway()
		return
	}
}

// sendGoAway sends it to all that have not got it.
func (d *httpDrain) sendGoAway() {
	d.http2.Leave(func(float32) time.Duration { return 0 })
}

// expel closes connections that have been idle for too long since their turns.
func (d *httpDrain) expel(f *farewell) {
	now := time.Now()
	for _, c := range d.conns.all() {
		s := servedIn(c)
		if s == nil || s.http2.Load() || !s.stays() {
			continue
		}
		if turn := f.begun.Add(f.after(s.turn)); now.After(turn) {
			s.idle.expel(now, turn, f.idle)
		}
	}
}

// stays tells whether a connection can't move.
func (c *servedConn) stays() bool {
	return c.from == nil || c.http2.Load() || c.set.taker() == nil
}

// staying returns how many of the connections can't move.
func (s *connSet) staying() (n int) {
	for _, c := range s.all() {
		if served := servedIn(c); served == nil || served.stays() {
			n++
		}
	}
	return n
}

// servedIn finds ours in a connSet.
func servedIn(c io.Closer) *servedConn {
	conn, _ := c.(net.Conn)
	return servedBy(conn)
}

// servedBy finds ours in a connection that net/http shows; nil if it isn't ours.
func servedBy(c net.Conn) *servedConn {
	if s, ok := c.(interface{ served() *servedConn }); ok {
		return s.served()
	}
	if t, ok := c.(*tls.Conn); ok {
		if inner, ok := t.NetConn().(interface{ served() *servedConn }); ok {
			return inner.served()
		}
	}
	return nil
}
