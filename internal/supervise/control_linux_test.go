package supervise

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// Each takes the place of a stale socket, and none that of a live one.
func TestOneAtATimeListensAtAPath(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/s"
	var live, served atomic.Int32
	var done sync.WaitGroup
	for range 8 {
		done.Go(func() {
			for range 50 {
				ln, err := listenControl(path)
				if err != nil {
					if !errors.Is(err, unix.EADDRINUSE) {
						t.Error(err)
					}
					continue
				}
				if n := live.Add(1); n != 1 {
					t.Errorf("%d listen at a time", n)
				}
				served.Add(1)
				live.Add(-1)
				ln.Close() // and leaves the file, as one that is killed
			}
		})
	}
	done.Wait()
	if served.Load() < 2 {
		t.Errorf("%d have listened", served.Load())
	}
}
