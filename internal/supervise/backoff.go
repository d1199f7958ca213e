package supervise

import (
	"math/rand/v2"
	"time"
)

// backoff is how long to wait before a program that has crashed is started again: twice
// as long each time, up to max, and then up to a quarter more or less, so that many
// machines that lost the same database don't come back to it in step. The zero value
// waits for nothing.
type backoff struct {
	min, max time.Duration
	crashes  int
}

// next is the wait after one more crash of a copy that has lived for lived. A copy that
// lived for longer than max is no part of a row of crashes.
func (b *backoff) next(lived time.Duration) time.Duration {
	if lived > b.max {
		b.crashes = 0
	}
	d := b.min
	for range b.crashes {
		if d *= 2; d >= b.max {
			d = b.max
			break
		}
	}
	b.crashes++
	if d <= 0 {
		return 0
	}
	return d*3/4 + rand.N(d/2+1)
}
