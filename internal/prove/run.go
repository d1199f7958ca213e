package prove

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
)

// run is a proof under way.
type run struct {
	opt      Options
	clients  load.Group
	upgrades []Upgrade
	notes    []string
	seen     time.Time // of the newest process that was noticed
}

// Run proves. Where ctx ends it, the report is of what there was until then. An
// error is of the options, and wraps [ErrOption]; all else is in the report.
func Run(ctx context.Context, opt Options) (*Report, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	cfgs, chosen, err := opt.plan()
	if err != nil {
		return nil, err
	}
	r := &run{opt: opt}
	cfgs, unreached, err := r.reach(ctx, cfgs, chosen)
	if err != nil {
		return nil, err
	}
	if unreached != "" {
		return r.notMeasured(unreached), nil
	}
	began := time.Now()
	r.clients, err = load.StartGroup(context.WithoutCancel(ctx), cfgs...)
	if err != nil {
		return nil, err
	}
	defer r.clients.Stop()
	opt.Say(fmt.Sprintf("load on %s: %s, %g requests a second at most", opt.URL, names(cfgs), opt.Rate))

	if sleep(ctx, max(2*time.Second, opt.Window)) { // steady, to compare with
		if opt.Upgrade != "" {
			r.upgradeByCommand(ctx)
		} else {
			r.watch(ctx)
		}
	}
	return r.report(ctx, began, cfgs), nil
}

func names(cfgs []load.Config) (all string) {
	for i, cfg := range cfgs {
		if i > 0 {
			all += ", "
		}
		all += cfg.Shape.Name
	}
	return all
}

// reach returns the shapes to measure by. Those that nobody has chosen and that
// the service doesn't take are left out, with a note. unreached: why there is
// nothing to measure.
func (r *run) reach(ctx context.Context, cfgs []load.Config, chosen bool) (_ []load.Config, unreached string, err error) {
	well, ill, err := probe(ctx, cfgs)
	if err != nil {
		return nil, "", err
	}
	switch {
	case len(well) == 0 || chosen && len(ill) > 0:
		f := ill[0]
		return nil, fmt.Sprintf("before any upgrade, a request of shape %s failed (%s): %s", f.Shape, f.Kind, f.Error), nil
	case len(ill) > 0:
		for _, f := range ill {
			r.notes = append(r.notes, fmt.Sprintf("The shape %s was left out: a first request failed (%s: %s). With a path that takes it, name it: --shape %s=/path.", f.Shape, f.Kind, f.Error, f.Shape))
		}
		for i := range well { // the others share the rate
			well[i].Rate *= float64(len(cfgs)) / float64(len(well))
		}
	}
	return well, "", nil
}

func (r *run) upgradeByCommand(ctx context.Context) {
	for n := range r.opt.Count {
		answered := r.clients.Snapshot().OK
		up := r.upgrade(ctx, n+1)
		r.upgrades = append(r.upgrades, up)
		c := r.clients.Snapshot()
		r.opt.Say(fmt.Sprintf("upgrade %d of %d: %s; %d requests, %d failed", n+1, r.opt.Count, up.sentence(), c.Requests, c.Failed))
		if !sleep(ctx, r.opt.Pause) {
			return
		}
		if up.Error != "" && n+1 < r.opt.Count {
			r.notes = append(r.notes, fmt.Sprintf("Upgrade %d failed, so no further one was tried.", n+1))
			return
		}
		if r.clients.Snapshot().OK == answered && n+1 < r.opt.Count {
			r.notes = append(r.notes, fmt.Sprintf("Not one request was answered after upgrade %d, so no further one was tried.", n+1))
			return
		}
	}
}

// upgrade runs the command, and where a change is expected waits for it. What
// is under way all the while, and in the window after it, counts as near the
// upgrade.
func (r *run) upgrade(ctx context.Context, n int) Upgrade {
	ctx, cancel := context.WithTimeout(ctx, r.opt.UpgradeTimeout)
	defer cancel()
	up := Upgrade{N: n, Began: time.Now()}
	label := fmt.Sprintf("upgrade %d", n)
	r.clients.Mark(up.Began, label)
	going, over := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for sleep(going, r.opt.Window/2) {
			r.clients.Mark(time.Now(), label+" goes on")
		}
	}()

	out := runCommand(ctx, r.opt.Upgrade)
	up.Command, up.ExitCode, up.Output = out.took, out.code, out.output
	if out.err != nil {
		up.Error = out.err.Error()
	} else if r.opt.ExpectChange != "" {
		a, err := r.clients.AwaitFirstAnswer(ctx, up.Began)
		if err != nil {
			up.Error = fmt.Sprintf("no answer with a new %s within %v: nothing shows that the service was upgraded", r.opt.ExpectChange, r.opt.UpgradeTimeout)
			if errors.Is(err, context.Canceled) {
				up.Error = "interrupted"
			}
		}
		up.saw(a)
	}
	over()
	<-done
	up.Took = time.Since(up.Began)
	r.clients.Mark(time.Now(), label+" is over")
	return up
}

// watch waits for the upgrades that somebody else does.
func (r *run) watch(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.opt.Duration)
	defer cancel()
	r.seen = time.Now()
	for r.opt.Count == 0 || len(r.upgrades) < r.opt.Count {
		news, stop := r.awaitNews(ctx)
		select {
		case <-ctx.Done():
			stop()
			return
		case _, ok := <-r.opt.Manual:
			if !ok {
				r.opt.Manual = nil
			} else {
				r.noticed(Upgrade{Began: time.Now()})
			}
		case a := <-news:
			r.sawNew(a)
		}
		stop()
	}
	sleep(ctx, r.opt.Pause)
}

// awaitNews gives a process's first answer, where it is known by which header.
func (r *run) awaitNews(ctx context.Context) (<-chan load.Answer, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	news := make(chan load.Answer, 1)
	if seen := r.seen; r.opt.ExpectChange != "" {
		go func() {
			if a, err := r.clients.AwaitFirstAnswer(ctx, seen); err == nil {
				news <- a
			}
		}()
	}
	return news, cancel
}

// sawNew takes a new process for the upgrade that was told last, or for one of
// which nobody told.
func (r *run) sawNew(a load.Answer) {
	r.seen = a.Time
	if n := len(r.upgrades); n > 0 && a.Time.Sub(r.upgrades[n-1].Began) < r.opt.Pause {
		r.upgrades[n-1].saw(a)
		return
	}
	up := Upgrade{Began: a.Time, Noticed: true}
	up.saw(a)
	r.noticed(up)
}

func (r *run) noticed(up Upgrade) {
	up.N = len(r.upgrades) + 1
	r.clients.Mark(up.Began, fmt.Sprintf("upgrade %d", up.N))
	r.upgrades = append(r.upgrades, up)
	r.opt.Say(fmt.Sprintf("upgrade %d: %s", up.N, up.sentence()))
}

// sleep reports whether the time has passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
