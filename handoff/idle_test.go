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
	if c.begin(room) == nil {
		_ = c.end(n, err)
	}
}

// waits is a read that has begun.
func (c *netHTTP) waits(room int) { _ = c.begin(room) }

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
			c.leave()
			if woken := c.socket.Equal(aLongTimeAgo); woken != tc.leaves {
				t.Fatalf("asked while a read waits: the read is woken: %v, want %v", woken, tc.leaves)
			}
			if tc.leaves {
				if err := c.end(0, os.ErrDeadlineExceeded); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the read that was woken: %v, want a timeout", err)
				}
			}
			if c.isLeaving() != tc.leaves {
				t.Errorf("asked while a read waits, it leaves: %v, want %v", c.isLeaving(), tc.leaves)
			}
		})
	}
}

func TestAConnectionThatIsAskedBeforeItsFirstReadLeavesAtIt(t *testing.T) {
	t.Parallel()
	c := newNetHTTP()
	c.leave()
	if err := c.begin(wholeBuffer); !errors.Is(err, os.ErrDeadlineExceeded) || !c.isLeaving() {
		t.Errorf("the first read: %v, leaves: %v", err, c.isLeaving())
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
	if err := c.begin(wholeBuffer); !errors.Is(err, os.ErrDeadlineExceeded) || !c.isLeaving() {
		t.Errorf("the read after the answer: %v, leaves: %v", err, c.isLeaving())
	}
}

func TestARequestThatComesWithTheWakeUpIsServedWithItsDeadline(t *testing.T) {
	t.Parallel()
	own := time.Now().Add(time.Hour)
	for name, outcome := range map[string]struct {
		n   int
		err error
	}{"data": {10, nil}, "data and a timeout": {10, os.ErrDeadlineExceeded}, "the end": {0, io.EOF}} {
		c := newNetHTTP()
		c.header()
		c.answered()
		_ = c.setReadDeadline(own)
		c.waits(wholeBuffer)
		c.leave()
		if err := c.end(outcome.n, outcome.err); err != outcome.err {
			t.Errorf("%s: the read's error is %v, want %v", name, err, outcome.err)
		}
		if c.isLeaving() || !c.socket.Equal(own) {
			t.Errorf("%s: leaves: %v; the socket's deadline is %v, want %v", name, c.isLeaving(), c.socket, own)
		}
		c.waits(wholeBuffer - 10)
		if c.socket.Equal(aLongTimeAgo) || c.isLeaving() {
			t.Errorf("%s: it leaves in the middle of a header", name)
		}
		_ = c.end(90, nil)
		c.state(false)
		c.answered()
		_ = c.setReadDeadline(own)
		if err := c.begin(wholeBuffer); err == nil || !c.isLeaving() {
			t.Errorf("%s: it stays after the answer", name)
		}
	}
}

func TestADeadlineThatIsSetAfterTheWakeUpDoesNotUndoIt(t *testing.T) {
	t.Parallel()
	c := newNetHTTP()
	c.waits(wholeBuffer)
	c.leave()
	own := time.Now().Add(time.Hour)
	_ = c.setReadDeadline(own)
	if !c.socket.Equal(aLongTimeAgo) {
		t.Error("the read goes on waiting")
	}
	_ = c.end(5, nil)
	if !c.socket.Equal(own) {
		t.Errorf("afterwards the deadline is %v, want %v", c.socket, own)
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
