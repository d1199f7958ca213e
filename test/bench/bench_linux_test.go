package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/test/bench/record"
)

// A run of one shape with two servers, to see that the machinery works.
func TestARunCountsWhatTheClientsOfTwoServersLose(t *testing.T) {
	b := small(t, "handoff", "stop and start")
	group := shapes()[1:2]
	group[0].rate = 500
	b.turns(t.Context(), 0, b.peers, func(p *peer) error { return b.lossSession(t.Context(), p, group) })
	if len(b.run.Faults) > 0 {
		t.Fatalf("not measured: %q", b.run.Faults)
	}
	losses := map[string]record.Loss{}
	for _, l := range b.run.Losses {
		losses[l.Server] = l
	}
	ours, theirs := losses["handoff"], losses["stop and start"]
	if ours.Requests == 0 || ours.Failed != 0 || ours.Reconnects != 0 || ours.Hung != 0 {
		t.Errorf("handoff: %+v", ours)
	}
	if theirs.Failed == 0 { // it has nobody to accept for a while
		t.Errorf("nothing is lost by stopping and starting: %+v", theirs)
	}
	dir := t.TempDir()
	if err := b.run.Write(dir); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "run.md"))
	if err != nil || !strings.Contains(string(page), "| failures 0 in every shape | 0 in 1 shapes, 1 upgrades or more each | met |") {
		t.Errorf("%v\n%s", err, page)
	}
	chart, err := os.ReadFile(filepath.Join(dir, "losses.svg"))
	if err != nil || !strings.Contains(string(chart), "<svg") {
		t.Errorf("losses.svg: %v", err)
	}
}

func TestAnUpgradeIsTimedAndNothingIsLeftBehind(t *testing.T) {
	b := small(t, "handoff")
	s, err := b.open(b.peers[0], spec{probation: -1, listeners: 3})
	if err != nil {
		t.Fatal(err)
	}
	u, err := s.timedUpgrade(t.Context())
	pgid := s.pgid
	if cerr := s.close(); cerr != nil {
		t.Error(cerr)
	}
	if err != nil {
		t.Fatal(err)
	}
	if u.new == u.old || !u.answer.After(u.signal) || !u.gone.After(u.committed) || u.committed.IsZero() || u.hung {
		t.Errorf("got %+v", u)
	}
	if u.rssNew <= 0 || u.rssAfter <= 0 {
		t.Errorf("memory: %+v", u)
	}
	if err := syscall.Kill(-pgid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the process group is still there: %v", err)
	}
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("its directory is still there: %v", err)
	}
}

func TestARunThatIsInterruptedEnds(t *testing.T) {
	b := small(t, "handoff")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := b.measure(ctx, []string{"losses"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	entries, err := os.ReadDir(b.tmp)
	if err != nil || len(entries) != 1 {
		t.Errorf("besides the programs there is %v, %v", entries, err)
	}
}

// small is a bench of the least size.
func small(t *testing.T, servers ...string) *bench {
	t.Helper()
	b, err := newBench(t.Context(), true, t.Output(), servers...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.close(); err != nil {
			t.Error(err)
		}
	})
	b.size = size{lossRounds: 1, lossUpgrades: 1}
	return b
}
