package control

import "sync"

// Feed gives each event to all who follow. The zero value is ready.
type Feed struct {
	mu     sync.Mutex
	all    map[chan any]struct{}
	closed bool
}

// behind is how many events a follower may be behind before it is let go: nobody
// who publishes waits.
const behind = 256

// Publish gives v to all followers. Those that are too far behind find their channel
// closed instead.
func (f *Feed) Publish(v any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.all {
		select {
		case c <- v:
		default:
			delete(f.all, c)
			close(c)
		}
	}
}

// Subscribe returns the events from now on. The channel is closed when there are no
// more.
func (f *Feed) Subscribe() (events <-chan any, unsubscribe func()) {
	c := make(chan any, behind)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		close(c)
		return c, func() {}
	}
	if f.all == nil {
		f.all = make(map[chan any]struct{})
	}
	f.all[c] = struct{}{}
	return c, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.all, c)
	}
}

// Close ends the feed: followers get what was published, and no more.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for c := range f.all {
		close(c)
	}
	f.all = nil
}
