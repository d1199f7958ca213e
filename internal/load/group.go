package load

import (
	"context"
	"sync"
	"time"
)

// Group is several runners on one server, each with its shape, used as one.
type Group []*Runner

// StartGroup starts a runner for each configuration. Where one is wrong, none
// runs on.
func StartGroup(ctx context.Context, cfgs ...Config) (Group, error) {
	var g Group
	seen := newSightings()
	for _, cfg := range cfgs {
		r, err := start(ctx, cfg, seen)
		if err != nil {
			g.Stop()
			return nil, err
		}
		g = append(g, r)
	}
	return g, nil
}

// Mark marks t in each; see [Runner.Mark].
func (g Group) Mark(t time.Time, label string) {
	for _, r := range g {
		r.Mark(t, label)
	}
}

// Snapshot is the sum of all; see [Runner.Snapshot].
func (g Group) Snapshot() Counters {
	var c Counters
	for _, r := range g {
		c.add(r.Snapshot())
	}
	return c
}

// FirstAnswer finds the process whose first answer of all, to any of the
// runners, came soonest after t; see [Runner.FirstAnswer].
func (g Group) FirstAnswer(t time.Time) (a Answer, ok bool) {
	if len(g) == 0 {
		return Answer{}, false
	}
	return g[0].FirstAnswer(t)
}

// AwaitFirstAnswer waits for what [Group.FirstAnswer] finds. The error is the
// context's. In an empty group there is nothing to wait for but that.
func (g Group) AwaitFirstAnswer(ctx context.Context, t time.Time) (Answer, error) {
	if len(g) == 0 {
		<-ctx.Done()
		return Answer{}, ctx.Err()
	}
	return g[0].AwaitFirstAnswer(ctx, t)
}

// Stop stops all and merges their results; see [Runner.Stop] and [Merge].
func (g Group) Stop() Result {
	results := make([]Result, len(g))
	var all sync.WaitGroup
	for i, r := range g {
		all.Go(func() { results[i] = r.Stop() })
	}
	all.Wait()
	return Merge(results...)
}
