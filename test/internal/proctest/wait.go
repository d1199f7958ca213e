package proctest

import (
	"context"
	"testing"
	"time"
)

// patience is how long a test waits for something that should happen at once, on a
// machine that is busy with other tests.
const patience = 30 * time.Second

// margin is what is left of the test's time when waiting ends, so that the output of
// the processes can still be printed. When go test's own time is up it is lost.
const margin = 10 * time.Second

// Deadline returns the instant at which waiting is given up: half a minute from now,
// or earlier where go test's -timeout is near.
func Deadline(t testing.TB) time.Time {
	deadline := time.Now().Add(patience)
	if t, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if end, ok := t.Deadline(); ok && end.Add(-margin).Before(deadline) {
			deadline = end.Add(-margin)
		}
	}
	return deadline
}

// Context returns a context that ends at the Deadline, and with the test.
func Context(t testing.TB) context.Context {
	ctx, cancel := context.WithDeadline(context.Background(), Deadline(t))
	t.Cleanup(cancel)
	return ctx
}

// Until calls ok until it returns nil. At the Deadline it fails t with what was
// waited for and the last error.
func Until(t testing.TB, what string, ok func() error) {
	t.Helper()
	deadline := Deadline(t)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s: %v", what, err)
		}
		time.Sleep(pause)
	}
}
