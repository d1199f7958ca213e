//go:build unix

package handoff

import (
	"context"
	"os"
	"syscall"
	"testing"
	"time"
)

func TestOneWishToStopByTwoWaysIsOne(t *testing.T) {
	t.Parallel()
	ways := map[string]func(u *Upgrader, cancel func()){
		"the context": func(_ *Upgrader, cancel func()) { cancel() },
		"SIGINT":      func(u *Upgrader, _ func()) { u.signals <- syscall.SIGINT },
		"SIGTERM":     func(u *Upgrader, _ func()) { u.signals <- syscall.SIGTERM },
		"Stop":        func(u *Upgrader, _ func()) { u.Stop() },
	}
	for first, do := range ways {
		for second, again := range ways {
			if first == second && first == "Stop" {
				continue // TestTheThirdStopCutsAtOnce
			}
			t.Run(first+" and "+second, func(t *testing.T) {
				t.Parallel()
				u := newUpgrader(t, Options{DrainTimeout: time.Hour})
				u.opts.StopSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM}
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				end := running(u, ctx, stubborn(make(chan error, 1)))
				do(u, cancel)
				again(u, cancel)
				until(t, u.Draining(), "the drain")
				u.in(func() {
					select {
					case <-u.hurry:
						t.Error("it hurries")
					default:
					}
					u.wish.at = u.wish.at.Add(-oneWish) // a moment later
				})
				u.signals <- syscall.SIGTERM
				until(t, u.hurry, "the hurry after a second wish")
				close(u.cut)
				until(t, end, "the end of Run")
			})
		}
	}
}

func TestAWishThatComesLaterIsAnother(t *testing.T) {
	t.Parallel()
	var w wish
	now := time.Now()
	for _, c := range []struct {
		after  time.Duration
		called bool
		same   bool
	}{
		{0, false, false}, {oneWish / 2, false, true}, {oneWish - 1, true, true}, {oneWish - 1, true, false},
		{2 * oneWish, false, false}, {3 * oneWish, true, false}, {3 * oneWish, true, false},
	} {
		if got := w.repeats(now.Add(c.after), c.called); got != c.same {
			t.Errorf("after %v, called %v: the same wish: %v, want %v", c.after, c.called, got, c.same)
		}
	}
}
