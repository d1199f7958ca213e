package supervise

import (
	"testing"
	"time"
)

func TestTheWaitBeforeARestartDoublesUpToItsMaximum(t *testing.T) {
	t.Parallel()
	b := backoff{min: 100 * time.Millisecond, max: time.Second}
	for i, want := range []time.Duration{100, 200, 400, 800, 1000, 1000, 1000} {
		want *= time.Millisecond
		if got := b.next(0); got < want*3/4 || got > want*5/4 {
			t.Errorf("after crash %d: %v, want about %v", i+1, got, want)
		}
	}
	if got := b.next(2 * time.Second); got > 125*time.Millisecond {
		t.Errorf("after a copy that has lived for long: %v", got)
	}
	differ := false
	first := (&backoff{min: time.Hour, max: time.Hour}).next(0)
	for range 20 {
		differ = differ || (&backoff{min: time.Hour, max: time.Hour}).next(0) != first
	}
	if !differ {
		t.Error("there is no jitter")
	}
}
