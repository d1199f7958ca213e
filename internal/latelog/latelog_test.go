package latelog

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAWriterThatBlocksKeepsNobodyAndAllIsWrittenInOrderLater(t *testing.T) {
	t.Parallel()
	var q Queue
	open := make(chan struct{})
	var got []int
	q.Do(func() { <-open })
	for i := range room {
		q.Do(func() { got = append(got, i) })
	}
	q.Flush(time.Millisecond) // which ends too
	dropped := 0
	q.Dropped = func(n int) { dropped = n }
	q.Do(func() { t.Error("there was no room") })
	close(open)
	q.Flush(10 * time.Second)
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(got) != room || got[0] != 0 || got[room-1] != room-1 || dropped != 1 {
		t.Errorf("%d were written, %d dropped", len(got), dropped)
	}
}

func TestWhatCanBeWrittenIsWrittenBeforeTheCallReturns(t *testing.T) {
	t.Parallel()
	var q Queue
	var mu sync.Mutex
	n := 0
	for i := range 100 {
		q.Do(func() { mu.Lock(); n++; mu.Unlock() })
		mu.Lock()
		if n != i+1 && !q.stuck { // a machine that is busy may need longer
			t.Logf("%d of %d are written", n, i+1)
		}
		mu.Unlock()
	}
	q.Flush(10 * time.Second)
	if n != 100 {
		t.Errorf("%d of 100 are written", n)
	}
}

func TestALoggersAttributesAndLevelsAreKept(t *testing.T) {
	t.Parallel()
	var q Queue
	var out bytes.Buffer
	log := slog.New(Handler(&q, slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn}))).With("a", 1).WithGroup("g").With("b", 2)
	log.Info("silent")
	log.Warn("loud", "c", 3)
	q.Flush(10 * time.Second)
	if text := out.String(); strings.Contains(text, "silent") || !strings.Contains(text, "msg=loud a=1 g.b=2 g.c=3") {
		t.Error(text)
	}
}
