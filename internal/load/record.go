package load

import (
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// record is one request. Its times count from the runner's start.
type record struct {
	start, end time.Duration
	latency    time.Duration // without the shape's own pauses
	pid        int32
	kind       Kind
}

// recordsKept is how many records a worker holds back before it folds them
// into the book. Until then a mark may still come for them: at 10,000 requests
// a second of one worker that is 0.8 s at least.
const recordsKept = 16384

// recorder is one worker's records. Only the worker touches it.
type recorder struct {
	book *book
	kept []record
}

func (r *recorder) init(b *book) {
	r.book = b
	r.kept = make([]record, 0, recordsKept)
}

func (r *recorder) add(rec record) {
	if len(r.kept) == cap(r.kept) {
		half := len(r.kept) / 2
		r.book.fold(r.kept[:half])
		r.kept = append(r.kept[:0], r.kept[half:]...)
	}
	r.kept = append(r.kept, rec)
}

func (r *recorder) flush() {
	r.book.fold(r.kept)
	r.kept = r.kept[:0]
}

// book is what all workers of a runner recorded.
type book struct {
	window time.Duration
	marks  atomic.Pointer[[]mark] // by time; replaced, never changed

	mu      sync.Mutex
	steady  period
	around  period
	pids    map[int32]*answers
	samples *sampler // nil: none
	marking sync.Mutex
}

type mark struct {
	at    time.Duration
	label string
}

type period struct {
	failed uint64
	hist   *hdrhistogram.Histogram // microseconds, of what was answered well
}

// answers are those of one pid.
type answers struct {
	first, last time.Duration
	n           uint64
}

func newBook(window time.Duration) *book {
	b := &book{window: window, pids: map[int32]*answers{}}
	b.marks.Store(&[]mark{})
	b.steady.hist, b.around.hist = newHist(), newHist()
	return b
}

// newHist holds 1 µs to 10 min, to three digits.
func newHist() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, (10 * time.Minute).Microseconds(), 3)
}

func (b *book) mark(at time.Duration, label string) {
	b.marking.Lock()
	defer b.marking.Unlock()
	old := *b.marks.Load()
	i := sort.Search(len(old), func(i int) bool { return old[i].at > at })
	marks := make([]mark, 0, len(old)+1)
	marks = append(marks, old[:i]...)
	marks = append(marks, mark{at, label})
	marks = append(marks, old[i:]...)
	b.marks.Store(&marks)
}

// near says whether any of r's life falls into the window after a mark.
func near(marks []mark, window time.Duration, r *record) bool {
	// The last mark before r's end is the one whose window ends last.
	i := sort.Search(len(marks), func(i int) bool { return marks[i].at > r.end })
	return i > 0 && marks[i-1].at+window > r.start
}

func (b *book) fold(recs []record) {
	marks := *b.marks.Load()
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range recs {
		r := &recs[i]
		p := &b.steady
		if near(marks, b.window, r) {
			p = &b.around
		}
		switch {
		case r.kind == OK:
			// Beyond what the histogram holds is its longest.
			us := min(max(r.latency.Microseconds(), 1), p.hist.HighestTrackableValue())
			_ = p.hist.RecordValue(us)
			b.samples.add(sample{r.start, r.latency})
		case r.kind.Failure():
			p.failed++
		}
		if r.pid == 0 {
			continue
		}
		a := b.pids[r.pid]
		if a == nil {
			a = &answers{first: r.end}
			b.pids[r.pid] = a
		}
		a.n++
		a.first = min(a.first, r.end)
		a.last = max(a.last, r.end)
	}
}
