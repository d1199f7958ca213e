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
//   - and it reads into a buffer as large as the connection's first read had: the
//     buffer is empty. Its capacity counts, not its length, for the first read may be
//     limited to the preface of HTTP/2 (http.Protocols.SetUnencryptedHTTP2).
//
// A connection that has not sent a byte yet can leave as well. Should another
// release of Go do it in another way, no connection is seen to be idle, and all of
// them end politely.
//
// A read that waits need not be ended for that, nor its goroutine woken: it takes
// bytes from the socket only by take, which from then on gives it none.
type idleness struct {
	setDeadline func(time.Time) error // the socket's read deadline

	mu        sync.Mutex
	since     time.Time     // it waits for a request; of one that is fresh, it was accepted
	shift     time.Duration // of deadlines, see begun
	size      int           // the capacity of the buffer of the first read
	bypassed  bool          // something has read, or reads, past begin and end
	fresh     bool          // nothing was read at all
	between   bool          // the last hook was StateIdle
	deadlines int           // set since then
	deadline  time.Time     // the last that was set
	waiting   bool          // a read that may be given up is under way
	wanted    bool          // the connection is to leave
	leaving   bool          // nothing is read from it any more: it is to be handed over
	handed    bool          // that was done
	over      chan struct{} // closed when the read has ended that was under way; nil if nobody waits for that

	// Of a connection that can't leave, but may be closed:
	active  bool      // a request is being served
	reading bool      // a read is under way
	events  uint      // reads that have brought something, and changes of state
	seen    uint      // of those by expel
	quiet   time.Time // when expel saw the last
	woken   bool      // its socket's deadline was set to have it closed
}

// begin is called before a read into a buffer with the capacity n, and tells whether
// the read is to take its bytes by take. An error ends it at once: then it is its Close
// that hands the connection over.
//
// A read that was given up stays given up: net/http may read again after the error, as
// it does when it has looked for the preface of HTTP/2 in vain.
func (i *idleness) begin(n int) (waits bool, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.leaving {
		return false, os.ErrDeadlineExceeded
	}
	if i.size == 0 {
		i.size = n
	}
	i.reading = true
	i.waiting = n == i.size && !i.bypassed && (i.fresh || i.between && i.deadlines == 1)
	if i.waiting && i.wanted {
		i.leaving, i.waiting, i.reading = true, false, false
		return false, os.ErrDeadlineExceeded
	}
	return i.waiting, nil
}

// take calls read, which never blocks and tells whether it is the last of its kind,
// unless the connection leaves.
func (i *idleness) take(read func() bool) (over bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.leaving {
		return true
	}
	over = read()
	i.waiting = i.waiting && !over
	return over
}

// end is called after a read with its outcome.
func (i *idleness) end(n int, err error) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.waiting, i.reading = false, false
	if i.leaving {
		if i.over != nil {
			close(i.over)
		}
		return os.ErrDeadlineExceeded
	}
	if n > 0 {
		i.fresh, i.between = false, false
		i.events++
	}
	if !i.woken {
		return err
	}
	i.woken = false
	if derr := i.setDeadline(i.deadline); derr == nil && n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		err = errStay
	}
	return err
}

// use is called before the socket is used in another way than by a read that begin
// knows. The error says that it is another's by now.
func (i *idleness) use() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.leaving {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// bypass is use for what reads. Whoever does that knows what is idle, so the
// connection stays from then on.
func (i *idleness) bypass() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.leaving {
		return os.ErrDeadlineExceeded
	}
	i.bypassed, i.waiting = true, false
	return nil
}

// begun is called before all others with the wait of a connection that was accepted by
// an older generation. net/http counts the time limits of its first request from the
// moment at which it gets the connection, so the deadlines are put back by as much.
func (i *idleness) begun(w wait) {
	now := time.Now()
	if i.since = w.since; i.since.IsZero() {
		i.since = now
	}
	i.shift = i.since.Sub(now)
	if i.shift > -time.Millisecond {
		i.shift = 0
	}
}

// wait is since when the connection waits.
func (i *idleness) wait() wait {
	i.mu.Lock()
	defer i.mu.Unlock()
	return wait{since: i.since, fresh: i.fresh}
}

// leave has the connection leave: at its next read that waits, or now if it returns
// true, and then the caller hands it over.
func (i *idleness) leave() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.wanted = true
	if !i.waiting || i.woken || i.leaving {
		return false
	}
	i.leaving, i.handed = true, true
	return true
}

// ended returns a channel that is closed when the read has ended that was under way
// when the connection left.
func (i *idleness) ended() <-chan struct{} {
	i.mu.Lock()
	defer i.mu.Unlock()
	over := make(chan struct{})
	if i.reading {
		i.over = over
	} else {
		close(over)
	}
	return over
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
	if i.active || !i.reading || i.woken || i.leaving || now.Sub(i.quiet) < limit {
		return
	}
	i.woken = true
	_ = i.setDeadline(aLongTimeAgo)
}

// setReadDeadline is net/http's.
func (i *idleness) setReadDeadline(t time.Time) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.shift != 0 && t.After(aLongTimeAgo) {
		t = t.Add(i.shift)
	}
	if i.between && i.deadlines == 0 {
		i.since = time.Now()
	}
	i.deadlines++
	i.deadline = t
	if i.woken || i.leaving { // it has one for us, or is another's
		return nil
	}
	return i.setDeadline(t)
}

// state is the hook: idle or not.
func (i *idleness) state(idle bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.between, i.deadlines, i.shift = idle, 0, 0
	i.active = !idle
	i.events++
	if !idle {
		i.fresh = false
	}
}

// handOver is called when the connection is to be closed. leaving tells that it is not,
// and first that it was not handed over so far.
func (i *idleness) handOver() (leaving, first bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	first = i.leaving && !i.handed
	i.handed = i.leaving
	return i.leaving, first
}
