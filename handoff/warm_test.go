package handoff

import (
	"testing"
	"time"
)

// What it warms up is package os's; that it ends, and breaks nothing, is all there is to see.
func TestTheWarmUpEnds(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	go func() { warmUp(1000); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("it hangs")
	}
}
