package endurance

import (
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

const module = "github.com/handoff-dev/handoff"

func buildProbe(t testing.TB) string {
	t.Helper()
	return proctest.Build(t, proctest.Program{Package: module + "/test/endurance/probe"})
}

func TestTwoHundredGenerationsLeaveNothingBehindAndLoseNoRequest(t *testing.T) {
	passGenerations(t, 200)
}

func TestAThousandGenerationsLeaveNothingBehindAndLoseNoRequest(t *testing.T) {
	proctest.RequireLong(t)
	passGenerations(t, 1000)
}

func passGenerations(t *testing.T, last int) {
	t.Run("Example", func(t *testing.T) {
		endure(t, newSubject(t, graceful.BuildPlain(t, "1"), false), last)
	})
	t.Run("Probe", func(t *testing.T) {
		endure(t, newSubject(t, buildProbe(t), true), last)
	})
}

// endure compares the last generation with the second, which is the first that was
// started by another. Memory is that of the leanest of several generations at either
// end: how much a process happens to have touched varies.
func endure(t *testing.T, s *subject, last int) {
	const compared = 5
	early := s.generations(compared)
	between := last - 1 - 2*compared
	stop, began := s.load(), time.Now()
	for range between {
		s.Reload()
	}
	each := time.Since(began) / time.Duration(between)
	stop()
	late := s.generations(compared)

	first, final := early[0], late[compared-1]
	residentBefore, before := leanest(early)
	residentAfter, after := leanest(late)
	t.Logf("generation %d: %s, at the least %d KiB resident, %d of its own", 2, first, residentBefore, before)
	t.Logf("generation %d: %s, at the least %d KiB resident, %d of its own; %v each", last, final, residentAfter, after, each.Round(100*time.Microsecond))
	final.sameAs(t, first)
	if residentAfter > residentBefore+residentBefore/20 {
		t.Errorf("%d KiB of memory, before %d: more than 5 %% more", residentAfter, residentBefore)
	}
	// Most of that is the executable, the same for all. Of a generation's own memory the
	// second has used less: it has heard of one upgrade, a late one of the last twenty.
	const history = 128
	if after > before+before/20+history {
		t.Errorf("%d KiB of memory of its own, before %d: more than 5 %% and %d KiB more", after, before, history)
	}
	s.StopGroup()
}

// generations passes some generations one by one, and counts what each has once it
// has served for a while and is at rest.
func (s *subject) generations(n int) (all []census) {
	s.T.Helper()
	for range n {
		stop := s.load()
		pid := s.Reload()
		time.Sleep(serving) // the same for all; no proof hangs on it
		stop()
		s.AwaitAlone(pid)
		all = append(all, s.take(pid))
	}
	return all
}

const serving = 100 * time.Millisecond

// load begins a light load, and returns what ends it and fails the test if a request
// has been lost.
func (s *subject) load() (stop func()) {
	s.T.Helper()
	target := load.Target{Addr: s.HTTP}
	g, err := load.StartGroup(s.T.Context(),
		load.Config{Target: target, Shape: load.NewConn(), Workers: 2, Rate: 200},
		load.Config{Target: target, Shape: load.KeepAlive(), Workers: 2, Rate: 200},
		load.Config{Target: target, Shape: load.Think(20 * time.Millisecond), Workers: 2})
	if err != nil {
		s.T.Fatal(err)
	}
	return func() {
		s.T.Helper()
		if r := g.Stop(); r.Failed > 0 || r.Requests > 2000 {
			graceful.NoLoss(s.T, r)
		}
	}
}

// leanest returns the least of each kind, in KiB.
func leanest(all []census) (resident, anonymous int) {
	resident, anonymous = all[0].resident, all[0].anonymous
	for _, c := range all {
		resident, anonymous = min(resident, c.resident), min(anonymous, c.anonymous)
	}
	return resident, anonymous
}
