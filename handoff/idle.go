package handoff

import (
	"errors"
	"os"
	"sync"
	"time"
)

// idleness finds out when an HTTP/1 connection that net/http serves can leave the
// process: when nothing of a request has been taken from its socket that isn't
// answered. It rests on what net/http does between two requests, and believes in
// it only where all of this is seen:
//
//   - the hook ConnState has said StateIdle,
//   - then the read deadline was set exactly once, and nothing was read: net/http
//     is waiting for the next request's first bytes, and has not found them in its
//     buffer,
//   - and it reads into a buffer as long as the connection's first read had: the
//     buffer is empty.
//
// A connection that has not sent a byte yet can leave as well. Should another
// release of Go do it in another way, no connection is seen to be idle, and all of
// them end politely.
type idleness struct {
	setDeadline func(time.Time) error // the socket's read deadline

	mu        sync.Mutex
	size      int       // of the buffer of the first read
	fresh     bool      // nothing was read at all
	between   bool      // the last hook was StateIdle
	deadlines int       // set since then
	deadline  time.Time // the last that was set
	waiting   bool      // a read that may be given up is under way
	wanted    bool      // the connection is to leave
	woken     bool      // its socket's deadline was set to wake it
	leaving   bool      // its read was given up: its Close hands it over

	// Of a connection that can't leave, but may be closed:
	active   bool      // a request is being served
	reading  bool      // a read is under way
	events   uint      // reads that have brought something, and changes of state
	seen     uint      // of those by expel
	quiet    time.Time // when expel saw the last
	expelled bool      // woken is to have it closed
}

// begin is called before a read into n bytes. An error ends the read at once.
func (i *idleness) begin(n int) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.size == 0 {
		i.size = n
	}
	i.reading = true
	i.waiting = n == i.size && (i.fresh || i.between && i.deadlines == 1)
	if i.waiting && i.wanted {
		i.leaving, i.reading = true, false
		return os.ErrDeadlineExceeded
	}
	return nil
}

// end is called after a read with its outcome.
func (i *idleness) end(n int, err error) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	waiting := i.waiting
	i.waiting, i.reading = false, false
	if n > 0 {
		i.fresh, i.between = false, false
		i.events++
	}
	if !i.woken {
		return err
	}
	i.woken = false
	if i.expelled {
		i.expelled = false
		if derr := i.setDeadline(i.deadline); derr == nil && n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			err = errStay
		}
		return err
	}
	if waiting && n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		i.leaving = true
		return err
	}
	// A request came at that very moment. It is served, then the connection leaves.
	if derr := i.setDeadline(i.deadline); err == nil {
		err = derr
	}
	return err
}

// leave asks the connection to leave as soon as it can.
func (i *idleness) leave() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.wanted = true
	if i.waiting && !i.woken && !i.leaving {
		i.woken = true
		_ = i.setDeadline(aLongTimeAgo)
	}
}

// errStay is the end of a read that was given up because the connection is to be
// closed: unless something has come at that very moment, which is to be read.
var errStay = errors.New("handoff: idle for too long")

// expel has the connection closed, in the manner of its protocol, if nothing has
// happened on it for the time limit, counted from the instant since at the earliest.
func (i *idleness) expel(now, since time.Time, limit time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.quiet.IsZero() {
		i.quiet = since
	} else if i.seen != i.events {
		i.quiet = now
	}
	i.seen = i.events
	if i.active || !i.reading || i.woken || now.Sub(i.quiet) < limit {
		return
	}
	i.woken, i.expelled = true, true
	_ = i.setDeadline(aLongTimeAgo)
}

// setReadDeadline is net/http's.
func (i *idleness) setReadDeadline(t time.Time) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.deadlines++
	i.deadline = t
	if i.woken {
		return nil
	}
	return i.setDeadline(t)
}

// state is the hook: idle or not.
func (i *idleness) state(idle bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.between, i.deadlines = idle, 0
	i.active = !idle
	i.events++
	if !idle {
		i.fresh = false
	}
}

// isLeaving tells whether the connection is to be handed over, not closed.
func (i *idleness) isLeaving() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.leaving
}
