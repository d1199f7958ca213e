package load

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
)

// tally is what a worker counts, read by others while it works.
type tally struct {
	kinds       [kinds]atomic.Uint64
	connections atomic.Uint64
	reconnects  atomic.Uint64
	closedIdle  atomic.Uint64
	skipped     atomic.Uint64
	_           [64]byte // its neighbour's counters are another core's
}

// afterConnectFailure keeps a worker from spinning while nobody listens.
const afterConnectFailure = 10 * time.Millisecond

// worker sends one numbered request after the other.
type worker struct {
	r   *Runner
	id  int
	n   *tally
	cl  client
	rec recorder

	body []byte
	seq  uint64
	pid  int       // who answered last
	beat time.Time // with Config.Rate: when the next request is, without jitter
	due  time.Time // and with it
}

func newWorker(r *Runner, id int) *worker {
	w := &worker{r: r, id: id, n: &r.tallies[id]}
	w.rec.init(r.book)
	w.cl = newClient(&r.cfg, w.n)
	return w
}

func (w *worker) run() {
	defer w.rec.flush()
	defer w.cl.close()
	w.beat = w.r.began
	if rate := w.r.cfg.Rate; rate > 0 {
		// Spread the workers over the interval between one's requests.
		w.beat = w.beat.Add(time.Duration(float64(w.id) / rate * float64(time.Second)))
	}
	w.due = w.beat
	for w.wait(upTo(w.r.cfg.Shape.Think)) && w.waitDue() {
		kind := w.request()
		if kind == Refused || kind == Connect {
			w.wait(afterConnectFailure)
		}
	}
}

// wait reports whether to go on.
func (w *worker) wait(d time.Duration) bool {
	if d > 0 {
		sleep(w.r.going, d)
	}
	// The end of ctx closes the connections, and may do so before it has ended going.
	return w.r.going.Err() == nil && w.r.ctx.Err() == nil
}

// waitDue waits until the next request is due, where there is a rate.
func (w *worker) waitDue() bool {
	rate := w.r.cfg.Rate
	if rate <= 0 {
		w.due = time.Now()
		return true
	}
	return w.wait(time.Until(w.due))
}

func (w *worker) request() Kind {
	w.seq++
	w.number()
	began := w.due
	ctx := w.r.ctx
	a := w.cl.do(ctx, w.body)
	end := time.Now()
	if a.kind.Failure() && ctx.Err() != nil {
		a.kind = Aborted
	}
	if a.pid != 0 && a.pid != w.pid {
		w.pid = a.pid
		w.r.seen.saw(a.pid, end)
	}
	w.rec.add(record{
		start:   began.Sub(w.r.began),
		end:     end.Sub(w.r.began),
		latency: max(0, end.Sub(began)-a.paused),
		pid:     int32(a.pid),
		kind:    a.kind,
	})
	w.n.kinds[a.kind].Add(1)
	if a.kind.Failure() {
		w.r.noteFailure(Failure{
			Time: end, Began: began, Kind: a.kind, Stage: a.stage, Kept: a.kept,
			Worker: w.id, Request: w.seq, PID: a.pid, Error: clipped(a.err.Error()),
		})
	}
	if w.r.cfg.Rate > 0 {
		w.setDue(end)
	}
	return a.kind
}

// setDue says when the next request is due.
func (w *worker) setDue(now time.Time) {
	interval := time.Duration(float64(w.r.cfg.Workers) / w.r.cfg.Rate * float64(time.Second))
	w.beat = w.beat.Add(interval)
	if backlog := w.r.cfg.Backlog; backlog > 0 && now.Sub(w.beat) > backlog {
		missed := (now.Sub(w.beat) - backlog + interval - 1) / interval
		w.n.skipped.Add(uint64(missed))
		w.beat = w.beat.Add(missed * interval)
	}
	if w.due = w.beat; w.r.cfg.Jitter {
		w.due = w.due.Add(upTo(interval / 4))
	}
}

// number writes the body of the next request: its number, unlike any other's,
// then dots.
func (w *worker) number() {
	b := append(w.body[:0], w.r.id...)
	b = append(b, " worker "...)
	b = strconv.AppendInt(b, int64(w.id), 10)
	b = append(b, " request "...)
	b = strconv.AppendUint(b, w.seq, 10)
	b = append(b, ' ')
	for len(b) < w.r.cfg.BodySize {
		b = append(b, '.')
	}
	w.body = b
}

// runs numbers the runners of this process.
var runs atomic.Uint64

func newRunID() string {
	return fmt.Sprintf("load %x.%d", uint32(time.Now().UnixNano()), runs.Add(1))
}

// contexts: ctx ends requests at once, going only keeps new ones from being
// started.
func contexts(parent context.Context) (ctx, going context.Context, stop, kill context.CancelFunc) {
	ctx, kill = context.WithCancel(parent)
	going, stop = context.WithCancel(ctx)
	return ctx, going, stop, kill
}
