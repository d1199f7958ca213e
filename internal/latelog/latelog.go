// Package latelog keeps whoever logs from waiting for who reads the log: a pipe that
// is full, a terminal that was stopped, a disk that does not answer.
package latelog

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// room is how many entries may wait. What finds no room is dropped, and counted.
const room = 1024

// Patience is how long the first entry is waited for that is not written at once.
// Usually each is written before the call returns, so a crash loses none. Tests that
// hold a process at a line of its log set it before there is a Queue.
var Patience = 20 * time.Millisecond

// A Queue writes entries in their order, by a goroutine that lives while there are some.
// Dropped, if not nil, is called with the number of those that found no room, once
// there is room again. Its zero value is ready for use.
type Queue struct {
	Dropped func(n int)

	mu      sync.Mutex
	waiting []entry
	dropped int
	idle    chan struct{} // closed when nothing waits; nil: nothing does
	stuck   bool          // nobody waits for an entry until all are written
}

type entry struct {
	write func()
	done  chan struct{}
}

// Do has write called after all before it. It waits for that only for an instant, and
// not at all while an earlier one keeps the queue.
func (q *Queue) Do(write func()) {
	q.mu.Lock()
	if len(q.waiting) >= room {
		q.dropped++
		q.mu.Unlock()
		return
	}
	e := entry{write, make(chan struct{})}
	q.waiting = append(q.waiting, e)
	if q.idle == nil {
		q.idle = make(chan struct{})
		go q.run()
	}
	stuck := q.stuck
	q.mu.Unlock()
	if stuck {
		return
	}
	timer := time.NewTimer(Patience)
	defer timer.Stop()
	select {
	case <-e.done:
	case <-timer.C:
		q.mu.Lock()
		q.stuck = q.idle != nil
		q.mu.Unlock()
	}
}

func (q *Queue) run() {
	for {
		e, ok := q.next()
		if !ok {
			return
		}
		e.write()
		close(e.done)
	}
}

// next is false when nothing waits any more.
func (q *Queue) next() (e entry, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 && q.dropped > 0 && q.Dropped != nil {
		n := q.dropped
		q.dropped = 0
		return entry{func() { q.Dropped(n) }, make(chan struct{})}, true
	}
	if len(q.waiting) == 0 {
		close(q.idle)
		q.idle, q.stuck, q.waiting = nil, false, nil
		return e, false
	}
	e = q.waiting[0]
	q.waiting[0] = entry{}
	q.waiting = q.waiting[1:]
	return e, true
}

// Flush waits until all is written, for d at most.
func (q *Queue) Flush(d time.Duration) {
	q.mu.Lock()
	idle := q.idle
	q.mu.Unlock()
	if idle == nil {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	}
}

// Handler returns a slog.Handler that has h do its work by q, all of its methods: one
// that blocks may hold a lock that the others want.
func Handler(q *Queue, h slog.Handler) slog.Handler {
	return &handler{q, func() slog.Handler { return h }}
}

type handler struct {
	queue *Queue
	inner func() slog.Handler // called by the queue alone
}

func (h *handler) Enabled(context.Context, slog.Level) bool { return true }

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	r = r.Clone()
	ctx = context.WithoutCancel(ctx)
	h.queue.Do(func() {
		if to := h.inner(); to.Enabled(ctx, r.Level) {
			_ = to.Handle(ctx, r) // nobody could be told
		}
	})
	return nil
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.queue, sync.OnceValue(func() slog.Handler { return h.inner().WithAttrs(attrs) })}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.queue, sync.OnceValue(func() slog.Handler { return h.inner().WithGroup(name) })}
}
