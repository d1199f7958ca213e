package load

import (
	"context"
	"sync"
	"time"
)

// Runner is load under way. Its methods may be called from any goroutine.
type Runner struct {
	cfg   Config
	id    string
	began time.Time
	book  *book
	seen  *sightings

	tallies []tally
	ctx     context.Context // ends requests under way
	going   context.Context // ends the sending of new ones
	stop    context.CancelFunc
	kill    context.CancelFunc
	done    sync.WaitGroup

	mu       sync.Mutex
	failures []Failure

	once   sync.Once
	result Result
}

// Start begins to put load on a server. It doesn't wait for the server to be
// there: who wants no failed connects starts the server first.
//
// The load ends with [Runner.Stop], which must be called also where ctx ends
// it. When ctx ends, requests under way are broken off, and counted as
// Aborted.
func Start(ctx context.Context, cfg Config) (*Runner, error) {
	return start(ctx, cfg, newSightings())
}

func start(ctx context.Context, cfg Config, seen *sightings) (*Runner, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &Runner{cfg: cfg, id: newRunID(), began: time.Now(), book: newBook(cfg.Window), seen: seen}
	r.cfg.ids = &seen.ids
	r.book.samples = newSampler(cfg.Samples)
	r.ctx, r.going, r.stop, r.kill = contexts(ctx)
	r.tallies = make([]tally, cfg.Workers)
	for i := range cfg.Workers {
		w := newWorker(r, i)
		r.done.Go(w.run)
	}
	return r, nil
}

// Mark says that something happened to the server at t, an upgrade for
// instance: what is answered in the Config.Window after it, and what was under
// way at t, counts apart in the [Result].
//
// Call it at about that time. A worker decides after 8,192 more requests at
// the earliest where one belongs; a mark told later than that comes too late
// for it.
func (r *Runner) Mark(t time.Time, label string) { r.book.mark(t.Sub(r.began), label) }

// Snapshot tells what has been counted up to now.
func (r *Runner) Snapshot() Counters {
	var c Counters
	for i := range r.tallies {
		c.addTally(&r.tallies[i])
	}
	return c
}

// FirstAnswer finds the process whose first answer of all came soonest after
// t. ok is false while there is none. A process is known by its Target.Identity.
func (r *Runner) FirstAnswer(t time.Time) (a Answer, ok bool) {
	a, _ = r.seen.after(t)
	return a, a.PID != 0
}

// AwaitFirstAnswer waits for what [Runner.FirstAnswer] finds. The error is the
// context's.
func (r *Runner) AwaitFirstAnswer(ctx context.Context, t time.Time) (Answer, error) {
	return r.seen.await(ctx, t)
}

// Stop ends the load and tells what came of it. No new request is sent, those
// under way are waited for, which Config.Timeout bounds. Calling it again
// gives the same result.
func (r *Runner) Stop() Result {
	r.once.Do(func() {
		r.stop()
		r.done.Wait()
		r.kill()
		r.result = r.collect()
	})
	return r.result
}

func (r *Runner) noteFailure(f Failure) {
	f.Shape = r.cfg.Shape.Name
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.failures) < r.cfg.MaxErrors {
		r.failures = append(r.failures, f)
	}
}

func (r *Runner) collect() Result {
	b := r.book
	res := Result{
		Counters: r.Snapshot(),
		Began:    r.began,
		Ended:    time.Now(),
		Errors:   r.failures,
		steady:   b.steady,
		around:   b.around,
	}
	if r.cfg.Shape.Name != "" {
		res.Shapes = []string{r.cfg.Shape.Name}
	}
	for _, m := range *b.marks.Load() {
		res.Marks = append(res.Marks, Mark{Time: r.began.Add(m.at), Label: m.label})
	}
	for pid, a := range b.pids {
		res.PIDs = append(res.PIDs, Process{
			PID: int(pid), Identity: r.seen.ids.text(int(pid)), Answers: a.n, First: r.began.Add(a.first), Last: r.began.Add(a.last),
		})
	}
	for _, s := range b.samples.kept() {
		res.Samples = append(res.Samples, Sample{Time: r.began.Add(s.at), Latency: s.latency, Shape: r.cfg.Shape.Name})
	}
	res.finish()
	return res
}
