package load

import (
	"testing"
	"time"
)

func TestSamplesAreBoundedSpreadOverAllTheTimeAndHaveTheLongest(t *testing.T) {
	t.Parallel()
	const most = 500
	for _, n := range []int{0, 1, 3, 40, 100000} {
		s := newSampler(most)
		for i := range n {
			one := sample{time.Duration(i) * time.Millisecond, time.Millisecond}
			if i == n/3 {
				one.latency = time.Second
			}
			s.add(one)
		}
		kept := s.kept()
		if len(kept) > most || n > most && len(kept) < most/4 || n <= 3 && len(kept) != n {
			t.Errorf("%d kept of %d", len(kept), n)
		}
		longest, halves, twice := false, [2]int{}, map[sample]bool{}
		for _, one := range kept {
			longest = longest || one.latency == time.Second
			halves[min(1, int(one.at)*2/(n*int(time.Millisecond)))]++
			if twice[one] {
				t.Errorf("%+v is kept twice of %d", one, n)
			}
			twice[one] = true
		}
		if n > 0 && !longest || n > most && (halves[0] < len(kept)/3 || halves[1] < len(kept)/3) {
			t.Errorf("of %d: the longest %t, by halves %v", n, longest, halves)
		}
	}
	var none *sampler
	if none.add(sample{}); none.kept() != nil {
		t.Error("something was kept by nobody")
	}
}

func TestAResultHasItsSamples(t *testing.T) {
	t.Parallel()
	res := runUntil(t, Config{Target: Target{Addr: fake(t, echoes)}, Shape: KeepAlive(), Samples: 100},
		func(c Counters) bool { return c.OK > 50 })
	if n := len(res.Samples); n == 0 || n > 100 || res.Samples[0].Shape != "keep-alive" || res.Samples[0].Latency <= 0 ||
		res.Samples[0].Time.Before(res.Began) || Merge(res, res).Samples[2*n-1].Time.After(res.Ended) {
		t.Errorf("%d samples, the first %+v", n, res.Samples)
	}
}
