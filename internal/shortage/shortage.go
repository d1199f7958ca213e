// Package shortage has a loop over Accept outlive what passes: a full table of open
// files, no memory, a connection that was gone before it was accepted. As in net/http,
// the loop waits for a moment, and goes on.
package shortage

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// The pauses between two tries, those of net/http.
const (
	first = 5 * time.Millisecond
	last  = time.Second
)

// A Pause is what a loop waits between failures of Accept that pass. The zero value is
// ready for use, by one goroutine.
type Pause struct{ next time.Duration }

// Over is to be called when Accept has succeeded: the next failure begins anew.
func (p *Pause) Over() { p.next = 0 }

// Begun tells whether the failure before the next call of Wait is not the first of a row.
func (p *Pause) Begun() bool { return p.next > 0 }

// Wait reports whether the loop is to go on after err, and waits before it does: 5 ms,
// and after each further failure twice as long, up to a second. The end of done ends the
// wait; done may be nil.
func (p *Pause) Wait(err error, done <-chan struct{}) bool {
	if !Passes(err) {
		return false
	}
	p.next = min(max(first, 2*p.next), last)
	timer := time.NewTimer(p.next)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-done:
	}
	return true
}

// passing are errors of accept(2) that are no fault of the listener, and that package
// syscall doesn't call temporary: see "Error handling" on its page.
var passing = []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EPERM, syscall.EPROTO,
	syscall.ECONNABORTED, syscall.ECONNRESET,
	syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTUNREACH}

// Passes tells whether another call of Accept may succeed after err. The end of the
// listener does not pass.
func Passes(err error) bool {
	if err == nil || errors.Is(err, net.ErrClosed) {
		return false
	}
	for _, e := range passing {
		if errors.Is(err, e) {
			return true
		}
	}
	var temporary interface{ Temporary() bool } // net.Error has it, though deprecated
	return errors.As(err, &temporary) && temporary.Temporary()
}
