package load

import (
	"math/rand/v2"
	"time"
)

// sample is the latency of a request that began at.
type sample struct{ at, latency time.Duration }

// stretch is a part of a load's time: a fair choice of its samples, and the
// longest of them.
type stretch struct {
	seen    int
	chosen  [samplesAStretch - 1]sample
	longest sample
}

const samplesAStretch = 5

// sampler keeps samples of a load that goes on for nobody knows how long in
// bounded memory: when there are too many stretches, each two become one. Nil
// keeps none.
type sampler struct {
	width     time.Duration // of a stretch
	most      int           // stretches
	stretches []stretch
}

// newSampler keeps about n.
func newSampler(n int) *sampler {
	if n == 0 {
		return nil
	}
	return &sampler{width: 10 * time.Millisecond, most: max(2, n/samplesAStretch)}
}

func (s *sampler) add(one sample) {
	if s == nil {
		return
	}
	one.at = max(one.at, 0)
	i := int(one.at / s.width)
	for i >= s.most {
		s.halve()
		i = int(one.at / s.width)
	}
	for i >= len(s.stretches) {
		s.stretches = append(s.stretches, stretch{})
	}
	s.stretches[i].add(one)
}

func (s *sampler) halve() {
	s.width *= 2
	for i := range s.stretches {
		if i%2 == 0 {
			s.stretches[i/2] = s.stretches[i]
		} else {
			s.stretches[i/2].merge(&s.stretches[i])
		}
	}
	s.stretches = s.stretches[:(len(s.stretches)+1)/2]
}

// kept returns the samples, each once.
func (s *sampler) kept() (all []sample) {
	if s == nil {
		return nil
	}
	for i := range s.stretches {
		st := &s.stretches[i]
		again := false
		for _, one := range st.chosen[:min(st.seen, len(st.chosen))] {
			again = again || one == st.longest
			all = append(all, one)
		}
		if st.seen > 0 && !again {
			all = append(all, st.longest)
		}
	}
	return all
}

// add is algorithm R: each sample is among the chosen with the same
// probability.
func (st *stretch) add(one sample) {
	if st.seen == 0 || one.latency > st.longest.latency {
		st.longest = one
	}
	if i := st.seen; i < len(st.chosen) {
		st.chosen[i] = one
	} else if i := rand.IntN(st.seen + 1); i < len(st.chosen) {
		st.chosen[i] = one
	}
	st.seen++
}

func (st *stretch) merge(o *stretch) {
	if o.seen == 0 {
		return
	}
	if st.seen == 0 {
		*st = *o
		return
	}
	a, b := st.chosen[:min(st.seen, len(st.chosen))], o.chosen[:min(o.seen, len(o.chosen))]
	seen := st.seen + o.seen
	var chosen [len(st.chosen)]sample
	for i := range min(seen, len(chosen)) {
		// Both are in no order that matters, so their last is as good as any.
		if len(b) == 0 || len(a) > 0 && rand.IntN(seen) < st.seen {
			chosen[i], a = a[len(a)-1], a[:len(a)-1]
		} else {
			chosen[i], b = b[len(b)-1], b[:len(b)-1]
		}
	}
	st.chosen, st.seen = chosen, seen
	if o.longest.latency > st.longest.latency {
		st.longest = o.longest
	}
}
