package handoff

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"
)

// netHTTP plays the calls that net/http makes, over a socket that is only a
// deadline.
type netHTTP struct {
	idleness
	socket time.Time // its read deadline
}

const wholeBuffer = 4096

func newNetHTTP() *netHTTP {
	c := &netHTTP{}
	c.fresh = true
	c.setDeadline = func(t time.Time) error { c.socket = t; return nil }
	return c
}

// reads is a read into room bytes with its outcome.
func (c *netHTTP) reads(room, n int, err error) {
	if waits, berr := c.begin(room); berr == nil {
		c.outcome(waits, n, err)
	}
}

// outcome is that of a read that has begun.
func (c *netHTTP) outcome(waits bool, n int, err error) error {
	if waits && !c.take(func() bool { return true }) {
		panic("it goes on")
	}
	return c.end(n, err)
}

// waits is a read that has begun.
func (c *netHTTP) waits(room int) { _, _ = c.begin(room) }

func (c *netHTTP) isLeaving() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaving
}

// header is the first request up to its handler.
func (c *netHTTP) header() {
	_ = c.setReadDeadline(time.Time{})
	c.reads(wholeBuffer, 100, nil)
	c.state(false)
	_ = c.setReadDeadline(time.Time{})
}

// answered is a request from its handler to its end; the background read finds
// nothing and is aborted.
func (c *netHTTP) answered() {
	_ = c.setReadDeadline(time.Time{})
	c.waits(1)
	_ = c.setReadDeadline(aLongTimeAgo)
	_ = c.end(0, os.ErrDeadlineExceeded)
	_ = c.setReadDeadline(time.Time{})
	c.state(true)
}

// between is one request and its end, and the deadline of the next.
func (c *netHTTP) between() {
	c.header()
	c.answered()
	_ = c.setReadDeadline(time.Time{})
}

func TestAConnectionLeavesOnlyWhenNothingOfARequestIsInTheProcess(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		calls  func(c *netHTTP) // up to a read that waits
		leaves bool
	}{
		"fresh": {func(c *netHTTP) { _ = c.setReadDeadline(time.Time{}); c.waits(wholeBuffer) }, true},
		"fresh, with a timeout for the header": {func(c *netHTTP) {
			_ = c.setReadDeadline(time.Now().Add(time.Hour))
			_ = c.setReadDeadline(time.Now().Add(time.Hour))
			c.waits(wholeBuffer)
		}, true},
		"between two requests": {func(c *netHTTP) { c.between(); c.waits(wholeBuffer) }, true},
		"after ten requests": {func(c *netHTTP) {
			for range 10 {
				c.between()
			}
			c.waits(wholeBuffer)
		}, true},
		"the first header is half read": {func(c *netHTTP) {
			_ = c.setReadDeadline(time.Time{})
			c.reads(wholeBuffer, 10, nil)
			c.waits(wholeBuffer - 10)
		}, false},
		"a later header is half read": {func(c *netHTTP) {
			c.between()
			c.reads(wholeBuffer, 10, nil)
			_ = c.setReadDeadline(time.Time{})
			c.waits(wholeBuffer - 10)
		}, false},
		"one byte of the next request is there": {func(c *netHTTP) {
			c.between()
			c.reads(wholeBuffer, 1, nil)
			c.waits(wholeBuffer - 1)
		}, false},
		"a header longer than the buffer": {func(c *netHTTP) {
			c.between()
			c.reads(wholeBuffer, wholeBuffer, nil)
			c.waits(wholeBuffer)
		}, false},
		"three bytes of a pipelined request are in the buffer": {func(c *netHTTP) { c.between(); c.waits(wholeBuffer - 3) }, false},
		"a pipelined request is in the buffer, and its body is read": {func(c *netHTTP) {
			c.between()
			_ = c.setReadDeadline(time.Time{}) // for its header, which needs no read
			c.waits(wholeBuffer)
		}, false},
		"a pipelined request is in the buffer, and its handler runs": {func(c *netHTTP) {
			c.between()
			_ = c.setReadDeadline(time.Time{})
			c.state(false)
			c.waits(wholeBuffer)
		}, false},
		"the body is half read into a whole buffer": {func(c *netHTTP) {
			c.header()
			c.reads(wholeBuffer, wholeBuffer, nil)
			c.waits(wholeBuffer)
		}, false},
		"the background read waits": {func(c *netHTTP) { c.header(); c.waits(1) }, false},
		"the background read has taken a byte": {func(c *netHTTP) {
			c.header()
			c.reads(1, 1, nil)
			c.state(true)
			_ = c.setReadDeadline(time.Time{})
			c.waits(wholeBuffer - 1) // the byte is the buffer's first
		}, false},
		"hijacked when it was new":               {func(c *netHTTP) { c.state(false); c.waits(wholeBuffer) }, false},
		"unknown: idle, and no deadline was set": {func(c *netHTTP) { c.header(); c.answered(); c.waits(wholeBuffer) }, false},
		"unknown: another deadline was set":      {func(c *netHTTP) { c.between(); _ = c.setReadDeadline(time.Time{}); c.waits(wholeBuffer) }, false},
		"unknown: another buffer":                {func(c *netHTTP) { c.between(); c.waits(2 * wholeBuffer) }, false},
		"unknown: idle was never said": {func(c *netHTTP) {
			c.header()
			_ = c.setReadDeadline(time.Time{})
			c.waits(wholeBuffer)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newNetHTTP()
			tc.calls(c)
			left := c.leave()
			if c.isLeaving() != tc.leaves || left != tc.leaves {
				t.Fatalf("asked while a read waits, it leaves: %v, want %v", c.isLeaving(), tc.leaves)
			}
			if !c.socket.IsZero() && c.socket.Equal(aLongTimeAgo) {
				t.Error("the read was woken")
			}
			if !tc.leaves {
				return
			}
			if !c.take(func() bool { t.Error("the read takes bytes"); return true }) {
				t.Error("the read goes on")
			}
			ended := c.ended()
			select {
			case <-ended:
				t.Error("the read is said to have ended")
			default:
			}
			if err := c.end(0, io.EOF); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the read ends with %v, want a timeout", err)
			}
			select {
			case <-ended:
			default:
				t.Error("the read's end is not told")
			}
			if leaving, first := c.handOver(); !leaving || first {
				t.Errorf("at its Close it leaves: %v, and is to be handed over: %v, want true and false", leaving, first)
			}
		})
	}
}

func TestAConnectionThatIsAskedBeforeItsFirstReadLeavesAtIt(t *testing.T) {
	t.Parallel()
	c := newNetHTTP()
	c.leave()
	if _, err := c.begin(wholeBuffer); !errors.Is(err, os.ErrDeadlineExceeded) || !c.isLeaving() {
		t.Errorf("the first read: %v, leaves: %v", err, c.isLeaving())
	}
	if c.leave() {
		t.Error("it is to be handed over before its Close")
	}
	for n := range 2 {
		if leaving, first := c.handOver(); !leaving || first != (n == 0) {
			t.Errorf("at Close number %d it leaves: %v, and is to be handed over: %v", n+1, leaving, first)
		}
	}
}

func TestAConnectionThatIsAskedWhileItIsBusyLeavesAfterItsAnswer(t *testing.T) {
	t.Parallel()
	c := newNetHTTP()
	c.header()
	c.leave()
	if c.socket.Equal(aLongTimeAgo) {
		t.Fatal("the handler's read was woken")
	}
	c.answered()
	_ = c.setReadDeadline(time.Time{})
	if _, err := c.begin(wholeBuffer); !errors.Is(err, os.ErrDeadlineExceeded) || !c.isLeaving() {
		t.Errorf("the read after the answer: %v, leaves: %v", err, c.isLeaving())
	}
}

func TestARequestThatComesBeforeItIsAskedIsServedWithItsDeadline(t *testing.T) {
	t.Parallel()
	own := time.Now().Add(time.Hour)
	for name, outcome := range map[string]struct {
		n   int
		err error
	}{"data": {10, nil}, "the end": {0, io.EOF}} {
		c := newNetHTTP()
		c.header()
		c.answered()
		_ = c.setReadDeadline(own)
		waits, _ := c.begin(wholeBuffer)
		if c.take(func() bool { return false }) {
			t.Errorf("%s: a read that finds nothing is over", name)
		}
		c.take(func() bool { return true })
		if c.leave() {
			t.Fatalf("%s: it leaves with what was read", name)
		}
		if err := c.end(outcome.n, outcome.err); !waits || err != outcome.err {
			t.Errorf("%s: the read's error is %v, want %v", name, err, outcome.err)
		}
		if c.isLeaving() || !c.socket.Equal(own) {
			t.Errorf("%s: leaves: %v; the socket's deadline is %v, want %v", name, c.isLeaving(), c.socket, own)
		}
		c.waits(wholeBuffer - 10)
		if c.leave() {
			t.Errorf("%s: it leaves in the middle of a header", name)
		}
		_ = c.end(90, nil)
		c.state(false)
		c.answered()
		_ = c.setReadDeadline(own)
		if _, err := c.begin(wholeBuffer); err == nil || !c.isLeaving() {
			t.Errorf("%s: it stays after the answer", name)
		}
	}
}

func TestADeadlineThatIsSetAfterItsDepartureDoesNotReachTheSocket(t *testing.T) {
	t.Parallel()
	c := newNetHTTP()
	c.waits(wholeBuffer)
	c.leave()
	_ = c.setReadDeadline(time.Now().Add(time.Hour))
	if !c.socket.IsZero() {
		t.Errorf("the socket's deadline is %v", c.socket)
	}
}

func TestAnIdleTimeoutOfNobodysWakingIsNoDeparture(t *testing.T) {
	t.Parallel()
	c := newNetHTTP()
	c.between()
	c.reads(wholeBuffer, 0, os.ErrDeadlineExceeded)
	if c.isLeaving() {
		t.Error("a connection that nobody asked leaves")
	}
}
