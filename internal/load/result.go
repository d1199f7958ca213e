package load

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Counters are what workers have counted. Requests is the sum of OK, Failed,
// Retryable and Aborted.
type Counters struct {
	Requests uint64 `json:"requests"`
	OK       uint64 `json:"ok"`
	// Failed are lost or wrongly answered, by kind in Failures, in which kinds
	// that didn't occur are absent.
	Failed   uint64          `json:"failed"`
	Failures map[Kind]uint64 `json:"failures,omitempty"`
	// Retryable were refused by an HTTP/2 server in a way that makes it safe
	// to send them again, or crossed the Close by which a WebSocket's server
	// asked to connect again.
	Retryable uint64 `json:"retryable"`
	// Aborted were under way when the load's own context ended.
	Aborted uint64 `json:"aborted"`
	// Connections were opened.
	Connections uint64 `json:"connections"`
	// Reconnects are connections that the server ended with good manners:
	// "Connection: close" on an answer that could have kept it, or GOAWAY.
	Reconnects uint64 `json:"reconnects"`
	// ClosedIdle are connections that were seen to be closed before a request
	// was written.
	ClosedIdle uint64 `json:"closed_idle"`
	// Skipped were due, and left out by Config.Backlog. Requests doesn't count
	// them.
	Skipped uint64 `json:"skipped,omitempty"`
}

func (c *Counters) addTally(t *tally) {
	for k := range kinds {
		c.count(k, t.kinds[k].Load())
	}
	c.Connections += t.connections.Load()
	c.Reconnects += t.reconnects.Load()
	c.ClosedIdle += t.closedIdle.Load()
	c.Skipped += t.skipped.Load()
}

func (c *Counters) count(k Kind, n uint64) {
	if n == 0 {
		return
	}
	c.Requests += n
	switch k {
	case OK:
		c.OK += n
	case Retryable:
		c.Retryable += n
	case Aborted:
		c.Aborted += n
	default:
		c.Failed += n
		if c.Failures == nil {
			c.Failures = map[Kind]uint64{}
		}
		c.Failures[k] += n
	}
}

func (c *Counters) add(o Counters) {
	c.count(OK, o.OK)
	c.count(Retryable, o.Retryable)
	c.count(Aborted, o.Aborted)
	for k, n := range o.Failures {
		c.count(k, n)
	}
	c.Connections += o.Connections
	c.Reconnects += o.Reconnects
	c.ClosedIdle += o.ClosedIdle
	c.Skipped += o.Skipped
}

// Lost are the requests that were written, at least in part, and of which the
// connection's end is all that is known.
func (c Counters) Lost() uint64 {
	return c.Failures[Reset] + c.Failures[EOF] + c.Failures[Torn] + c.Failures[Truncated]
}

// Result is what came of a load. It can be marshalled as JSON; durations are
// in nanoseconds there.
type Result struct {
	Counters
	Shapes []string  `json:"shapes,omitempty"`
	Began  time.Time `json:"began"`
	Ended  time.Time `json:"ended"`
	// Steady is all that is not Around; Around is what was under way within
	// Config.Window after a mark.
	Steady Period `json:"steady"`
	Around Period `json:"around"`
	Marks  []Mark `json:"marks,omitempty"`
	// PIDs are the processes that answered, in the order of their first
	// answers.
	PIDs []Process `json:"pids,omitempty"`
	// Errors are the first failures, Config.MaxErrors of them for each runner.
	Errors []Failure `json:"errors,omitempty"`
	// Samples are some of the right answers' latencies, about Config.Samples
	// for each runner, by time.
	Samples []Sample `json:"samples,omitempty"`

	steady, around period // for Merge
}

// Period is a part of a load's time. The latencies are those of the requests
// that were answered rightly: without the shape's own pauses, with the connect
// where one was needed.
type Period struct {
	Requests uint64        `json:"requests"` // OK ones, and the failed
	Failed   uint64        `json:"failed"`
	P50      time.Duration `json:"p50_ns"`
	P99      time.Duration `json:"p99_ns"`
	P999     time.Duration `json:"p999_ns"`
	Max      time.Duration `json:"max_ns"`
}

// Mark is an instant told by [Runner.Mark].
type Mark struct {
	Time  time.Time `json:"time"`
	Label string    `json:"label"`
}

// Sample is a request that was answered rightly. Time is its beginning.
type Sample struct {
	Time    time.Time     `json:"time"`
	Latency time.Duration `json:"latency_ns"`
	Shape   string        `json:"shape,omitempty"`
}

// Answer is the first of a process. Identity is what it calls itself, where
// that is no number; PID is then negative, and of no meaning.
type Answer struct {
	PID      int       `json:"pid"`
	Identity string    `json:"identity,omitempty"`
	Time     time.Time `json:"time"`
}

// Process is one that answered, known by Target.Identity. Identity and PID are
// as in [Answer].
type Process struct {
	PID      int       `json:"pid"`
	Identity string    `json:"identity,omitempty"`
	Answers  uint64    `json:"answers"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
}

// Failure is a failed request. PID is who answered it, if anyone did.
type Failure struct {
	Time  time.Time `json:"time"`
	Began time.Time `json:"began"`
	Kind  Kind      `json:"kind"`
	Stage Stage     `json:"stage"`
	// Kept: the connection had served a request before this one.
	Kept    bool   `json:"kept"`
	Shape   string `json:"shape,omitempty"`
	Worker  int    `json:"worker"`
	Request uint64 `json:"request"`
	PID     int    `json:"pid,omitempty"`
	Error   string `json:"error"` // of 1 KiB at most
}

// clipped cuts a text that may hold what a server says.
func clipped(text string) string {
	const most = 1 << 10
	if len(text) <= most {
		return text
	}
	const mark = "…"
	return strings.ToValidUTF8(text[:most-len(mark)], "") + mark
}

// Merge makes one result of several, of runners that ran at the same time or
// one after the other. The results must come from [Runner.Stop] or from Merge:
// JSON doesn't carry the latencies.
func Merge(results ...Result) Result {
	var sum Result
	sum.steady.hist, sum.around.hist = newHist(), newHist()
	for _, r := range results {
		sum.Counters.add(r.Counters)
		if sum.Began.IsZero() || r.Began.Before(sum.Began) {
			sum.Began = r.Began
		}
		if r.Ended.After(sum.Ended) {
			sum.Ended = r.Ended
		}
		for _, s := range r.Shapes {
			if !slices.Contains(sum.Shapes, s) {
				sum.Shapes = append(sum.Shapes, s)
			}
		}
		for _, m := range r.Marks {
			if !slices.ContainsFunc(sum.Marks, func(o Mark) bool { return o.Time.Equal(m.Time) && o.Label == m.Label }) {
				sum.Marks = append(sum.Marks, m)
			}
		}
		for _, p := range r.PIDs {
			sum.addProcess(p)
		}
		sum.Errors = append(sum.Errors, r.Errors...)
		sum.Samples = append(sum.Samples, r.Samples...)
		sum.steady.add(r.steady)
		sum.around.add(r.around)
	}
	sum.finish()
	return sum
}

func (r *Result) addProcess(p Process) {
	i := slices.IndexFunc(r.PIDs, func(o Process) bool { return o.PID == p.PID })
	if i < 0 {
		r.PIDs = append(r.PIDs, p)
		return
	}
	o := &r.PIDs[i]
	o.Answers += p.Answers
	if p.First.Before(o.First) {
		o.First = p.First
	}
	if p.Last.After(o.Last) {
		o.Last = p.Last
	}
}

// finish puts lists in order and computes the periods.
func (r *Result) finish() {
	slices.SortStableFunc(r.Marks, func(a, b Mark) int { return a.Time.Compare(b.Time) })
	slices.SortStableFunc(r.Errors, func(a, b Failure) int { return a.Time.Compare(b.Time) })
	slices.SortStableFunc(r.Samples, func(a, b Sample) int { return a.Time.Compare(b.Time) })
	slices.SortFunc(r.PIDs, func(a, b Process) int {
		return cmp.Or(a.First.Compare(b.First), cmp.Compare(a.PID, b.PID))
	})
	r.Steady, r.Around = r.steady.summary(), r.around.summary()
}

func (p *period) add(o period) {
	p.failed += o.failed
	if o.hist != nil {
		p.hist.Merge(o.hist)
	}
}

func (p *period) summary() Period {
	return Period{
		Requests: uint64(p.hist.TotalCount()) + p.failed,
		Failed:   p.failed,
		P50:      quantile(p.hist, 50),
		P99:      quantile(p.hist, 99),
		P999:     quantile(p.hist, 99.9),
		Max:      quantile(p.hist, 100),
	}
}

func quantile(h *hdrhistogram.Histogram, q float64) time.Duration {
	if h.TotalCount() == 0 {
		return 0
	}
	return time.Duration(h.ValueAtPercentile(q)) * time.Microsecond
}
