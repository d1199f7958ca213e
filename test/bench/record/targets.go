package record

import (
	"fmt"
	"math"
	"strings"
)

// Ours is the server whose targets these are.
const Ours = "handoff"

// Verdict is a target, and what came of it. Missing is a target that was not
// measured in this run.
type Verdict struct {
	Target  string
	Value   string
	Met     bool
	Missing bool
}

// Verdicts compares the run with the project's targets. All but the counts are
// ratios of measurements of the same round.
func (r *Run) Verdicts() []Verdict {
	verdicts := []Verdict{r.failures(), r.reconnects()}
	add := func(target string, s Summary, limit float64, atLeast bool) {
		v := Verdict{Target: target, Value: s.String(), Met: s.Median <= limit, Missing: s.N == 0}
		if atLeast {
			v.Met = s.Median >= limit
		}
		verdicts = append(verdicts, v)
	}
	add("signal → first answer ≤ 1.0 × tableflip's", r.against("first_answer", CaseIdle, Ours, CaseIdle, "tableflip"), 1, false)
	around, _ := r.Find("p99.9_around", CaseLatency, Ours)
	steady, _ := r.Find("p99.9_steady", CaseLatency, Ours)
	add("p99.9 around upgrades ≤ 1.25 × steady state", Ratio(around, steady), 1.25, false)
	add("requests/s ≥ 0.99 × plain net/http", r.against("throughput", CaseSteady, Ours, CaseSteady, "stop and start"), 0.99, true)
	// A tenth of an allocation is the clock's and the collector's, not a request's.
	add("allocations per request ≤ plain net/http's", r.against("allocations", CaseSteady, Ours, CaseSteady, "stop and start"), 1.005, false)
	add("1 GiB of heap: time ≤ 1.25 × without", r.against("first_answer", CaseHeap, Ours, CaseIdle, Ours), 1.25, false)
	add("1,000 listeners: time ≤ 2 × with one", r.against("first_answer", CaseThousand, Ours, CaseIdle, Ours), 2, false)
	idle, _ := r.Find("commit_gone", CaseIdle, Ours)
	add("old process gone ≤ 50 ms after commit, idle", Summarize(idle.Values()), 50, false)
	many, _ := r.Find("commit_gone", CaseConns, Ours)
	add("old process gone ≤ 50 ms after commit, 10,000 idle connections", Summarize(many.Values()), 50, false)
	return verdicts
}

// The cases of the series.
const (
	CaseIdle      = "idle"
	CaseHeap      = "1 GiB of heap"
	CaseSixtyFour = "64 listeners"
	CaseThousand  = "1,000 listeners"
	CaseConns     = "10,000 idle connections"
	CaseFloor     = "fork and exec to first listen"
	CaseLatency   = "keep-alive at a fixed rate"
	CaseSteady    = "steady state"
)

func (r *Run) against(metric, ourCase, ours, theirCase, theirs string) Summary {
	a, _ := r.Find(metric, ourCase, ours)
	b, _ := r.Find(metric, theirCase, theirs)
	return Ratio(a, b)
}

func (r *Run) failures() Verdict {
	return r.total("failures 0 in every shape",
		func(l Loss) bool { return true }, func(l Loss) uint64 { return l.Failed })
}

func (r *Run) reconnects() Verdict {
	return r.total("forced reconnects 0 in every plain HTTP/1.1 shape",
		func(l Loss) bool { return l.Keeps && IsPlain(l.Shape) }, func(l Loss) uint64 { return l.Reconnects })
}

// IsPlain tells whether a shape is HTTP/1.1 without TLS.
func IsPlain(shape string) bool {
	return !strings.HasPrefix(shape, "TLS") && !strings.HasPrefix(shape, "HTTP/2")
}

func (r *Run) total(target string, which func(Loss) bool, count func(Loss) uint64) Verdict {
	var sum uint64
	upgrades, seen := math.MaxInt, 0
	for _, l := range r.Losses {
		if l.Server == Ours && which(l) {
			sum += count(l)
			seen++
			upgrades = min(upgrades, l.Upgrades)
		}
	}
	if seen == 0 {
		return Verdict{Target: target, Value: "–", Missing: true}
	}
	return Verdict{Target: target, Value: fmt.Sprintf("%d in %d shapes, %d upgrades or more each", sum, seen, upgrades), Met: sum == 0}
}
