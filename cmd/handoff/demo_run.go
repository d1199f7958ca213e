//go:build !small

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
)

// The longest that the demo waits for its server.
const (
	demoStartTimeout   = 10 * time.Second
	demoUpgradeTimeout = 10 * time.Second
)

// demonstrate runs the demo and leaves no process and no file behind. An error
// means that it could not be carried through; lost requests are in the report.
func demonstrate(ctx context.Context, opt demoOptions, show *progress) (rep *report, err error) {
	if err := demoSupported(); err != nil {
		return nil, err
	}
	bins, err := newBinaries()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bins.remove()) }()
	if err := bins.install(1); err != nil {
		return nil, err
	}
	family, err := startFamily(bins.path, opt.lose)
	if err != nil {
		return nil, withHint(fmt.Errorf("start the demo's server: %w", err),
			"the folder for temporary files must allow programs to be run: set TMPDIR to one that does")
	}
	defer func() { err = errors.Join(err, family.end()) }()

	startCtx, cancel := context.WithTimeout(ctx, demoStartTimeout)
	defer cancel()
	first, err := family.awaitFirst(startCtx)
	if err != nil {
		return nil, interrupted(ctx, family.explain(err))
	}
	show.line("serving on %s: pid %d, version %d", first.addr, first.pid, first.version)
	rep, err = upgradeUnderLoad(ctx, opt, bins, family, first, show)
	if err != nil {
		return nil, interrupted(ctx, family.explain(err))
	}
	return rep, nil
}

// interrupted says so in place of what followed from it.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}

func upgradeUnderLoad(ctx context.Context, opt demoOptions, bins *binaries, family *family, first birth, show *progress) (*report, error) {
	interval := opt.interval()
	window := min(time.Second, interval/2)
	clients, err := load.StartGroup(ctx, demoLoad(first.addr, opt.workers, window)...)
	if err != nil {
		return nil, err
	}
	defer clients.Stop()
	show.watch(clients.Snapshot, opt.upgrades)

	rep := &report{WorkersPerShape: opt.workers, Window: window}
	newest := first
	began := time.Now()
	for n := range opt.upgrades {
		if err := pause(ctx, time.Until(began.Add(time.Duration(n+1)*interval))); err != nil {
			return nil, err
		}
		up, err := upgradeOnce(ctx, bins, family, clients, newest)
		if err != nil {
			return nil, fmt.Errorf("upgrade %d of %d: %w", n+1, opt.upgrades, err)
		}
		rep.Upgrades = append(rep.Upgrades, up)
		show.upgraded(up)
		newest = birth{pid: up.PID, version: up.Version}
		family.reap(newest.pid)
	}
	last := began.Add(time.Duration(opt.upgrades+1) * interval)
	if err := pause(ctx, max(window, time.Until(last))); err != nil {
		return nil, err
	}
	rep.Load = clients.Stop()
	if err := family.terminate(ctx, newest.pid); err != nil {
		return nil, err
	}
	rep.finish()
	return rep, nil
}

// upgradeOnce puts the other version in place, signals the newest generation,
// and waits for the first answer of its successor.
func upgradeOnce(ctx context.Context, bins *binaries, family *family, clients load.Group, newest birth) (upgrade, error) {
	up := upgrade{Version: 3 - newest.version}
	if err := bins.install(up.Version); err != nil {
		return up, err
	}
	ctx, cancel := context.WithTimeout(ctx, demoUpgradeTimeout)
	defer cancel()
	up.Signalled = time.Now()
	clients.Mark(up.Signalled, fmt.Sprintf("to version %d", up.Version))
	if err := family.upgrade(newest.pid); err != nil {
		return up, err
	}
	a, err := clients.AwaitFirstAnswer(ctx, up.Signalled)
	if err != nil {
		return up, fmt.Errorf("no answer by a successor of pid %d within %v", newest.pid, demoUpgradeTimeout)
	}
	up.PID, up.FirstAnswer = a.PID, a.Time.Sub(up.Signalled)
	born, err := family.awaitBirth(ctx, a.PID)
	if err != nil {
		return up, fmt.Errorf("pid %d answers, but never said who it is", a.PID)
	}
	if born.version != up.Version {
		return up, fmt.Errorf("pid %d runs version %d, not the version %d that is on disk", a.PID, born.version, up.Version)
	}
	up.Generation = born.generation
	return up, nil
}

func demoLoad(addr string, workers int, window time.Duration) []load.Config {
	var cfgs []load.Config
	for _, shape := range []load.Shape{
		load.NewConn(), load.KeepAlive(), load.Think(300 * time.Millisecond), load.SlowPost(50 * time.Millisecond),
	} {
		cfgs = append(cfgs, load.Config{
			Target: load.Target{Addr: addr}, Shape: shape, Workers: workers, Window: window,
		})
	}
	return cfgs
}

// pause waits for d; the error is the context's.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
