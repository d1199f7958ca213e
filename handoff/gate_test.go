package handoff

import (
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// fakeSocket has a read that blocks until its deadline is over, or there is
// something to read.
type fakeSocket struct {
	mu      sync.Mutex
	changed *sync.Cond
	past    bool
	waiting int
	queue   []int
}

func newFakeSocket() *fakeSocket {
	f := &fakeSocket{}
	f.changed = sync.NewCond(&f.mu)
	return f
}

func (f *fakeSocket) interrupt(t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.past = !t.IsZero() && t.Before(time.Now())
	f.changed.Broadcast()
	return nil
}

func (f *fakeSocket) put(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, n)
	f.changed.Broadcast()
}

func (f *fakeSocket) read(n *int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting++
	f.changed.Broadcast()
	defer func() { f.waiting-- }()
	for {
		if f.past {
			return os.ErrDeadlineExceeded
		}
		if len(f.queue) > 0 {
			*n, f.queue = f.queue[0], f.queue[1:]
			return nil
		}
		f.changed.Wait()
	}
}

// until waits for so many blocked reads.
func (f *fakeSocket) until(waiting int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.waiting != waiting {
		f.changed.Wait()
	}
}

func TestAPausedGateTakesNothingAndAnOpenedOneTakesWhatWaited(t *testing.T) {
	t.Parallel()
	f := newFakeSocket()
	g := newGate(f.interrupt, gateOpen)
	got := make(chan int)
	go func() {
		var n int
		if err := g.pass(func() error { return f.read(&n) }); err != nil {
			t.Errorf("pass: %v", err)
		}
		got <- n
	}()
	f.until(1)
	g.set(gatePaused)
	f.put(7)
	f.mu.Lock()
	left := len(f.queue)
	f.mu.Unlock()
	if left != 1 {
		t.Error("the paused gate took what came")
	}
	g.set(gateOpen)
	if n := <-got; n != 7 {
		t.Errorf("got %d, want 7", n)
	}
}

func TestAClosedGateStaysClosed(t *testing.T) {
	t.Parallel()
	f := newFakeSocket()
	g := newGate(f.interrupt, gateOpen)
	g.set(gateClosed)
	g.set(gateOpen)
	f.put(1)
	var n int
	if err := g.pass(func() error { return f.read(&n) }); err != net.ErrClosed {
		t.Errorf("pass: %v, want %v", err, net.ErrClosed)
	}
	if err := g.setDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("setDeadline: %v, want %v", err, net.ErrClosed)
	}
}

func TestClosingAGateEndsAllThatWaitForIt(t *testing.T) {
	t.Parallel()
	for _, state := range []gateState{gateOpen, gatePaused} {
		f := newFakeSocket()
		g := newGate(f.interrupt, state)
		const readers = 10
		errs := make(chan error)
		for range readers {
			go func() {
				var n int
				errs <- g.pass(func() error { return f.read(&n) })
			}()
		}
		if state == gateOpen {
			f.until(readers)
		}
		g.set(gateClosed)
		for range readers {
			if err := <-errs; err != net.ErrClosed {
				t.Errorf("pass: %v, want %v", err, net.ErrClosed)
			}
		}
	}
}

func TestTheProgramsDeadlineEndsAReadAtAnOpenGateAndAtAPausedOne(t *testing.T) {
	t.Parallel()
	for _, state := range []gateState{gateOpen, gatePaused} {
		g := newGate(newFakeSocket().interrupt, state)
		past := time.Now().Add(-time.Second)
		if err := g.setDeadline(past); err != nil {
			t.Fatal(err)
		}
		err := g.pass(func() error { return os.ErrDeadlineExceeded })
		var timeout net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("state %d: pass: %v, want a timeout", state, err)
		}
	}
}

func TestADeadlineSetWhilePausedWakesWhoWaits(t *testing.T) {
	t.Parallel()
	g := newGate(newFakeSocket().interrupt, gatePaused)
	got := make(chan error)
	go func() { got <- g.pass(func() error { return errors.New("read at a paused gate") }) }()
	if err := g.setDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("pass: %v, want a timeout", err)
	}
}

func TestADeadlineTakenBackWhilePausedIsForgotten(t *testing.T) {
	t.Parallel()
	f := newFakeSocket()
	g := newGate(f.interrupt, gatePaused)
	if err := errors.Join(g.setDeadline(time.Now().Add(-time.Second)), g.setDeadline(time.Time{})); err != nil {
		t.Fatal(err)
	}
	f.put(3)
	g.set(gateOpen)
	var n int
	if err := g.pass(func() error { return f.read(&n) }); err != nil || n != 3 {
		t.Errorf("got %d, %v", n, err)
	}
}

// A wall clock that is set back must not make the gate try again and again.
func TestATimeoutThatTheGateDidNotCauseIsTheProgramsOwn(t *testing.T) {
	t.Parallel()
	g := newGate(newFakeSocket().interrupt, gateOpen)
	if err := g.setDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	reads := 0
	err := g.pass(func() error {
		if reads++; reads > 3 {
			return errors.New("read again and again")
		}
		return os.ErrDeadlineExceeded
	})
	if err != os.ErrDeadlineExceeded || reads != 1 {
		t.Errorf("pass: %v after %d reads, want a timeout after 1", err, reads)
	}
}

func TestAPausedGateIsQuietOnceTheReadThatItLetThroughIsOver(t *testing.T) {
	t.Parallel()
	g := newGate(newFakeSocket().interrupt, gateOpen)
	through, goOn, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		if err := g.pass(func() error { close(through); <-goOn; return nil }); err != nil {
			t.Errorf("pass: %v", err)
		}
	}()
	<-through // past the gate, and not yet at the socket
	g.set(gatePaused)
	select {
	case <-g.quiet():
		t.Error("the gate is quiet with a read under way")
	default:
	}
	quiet := g.quiet()
	close(goOn)
	<-quiet
	<-done
	<-g.quiet() // at once
}
