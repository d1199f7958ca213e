package handoff

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// A gate lets the reads (or accepts) of one socket through, makes them wait, or
// ends them, without a change to the socket itself: other processes hold the same
// socket, and what waits in its queue is theirs too.
//
// It works by the read deadline: one in the past wakes a blocked read before it
// has taken anything from the socket.
type gate struct {
	interrupt func(time.Time) error // sets the socket's read deadline
	toldEnd   func()                // is called once, before a read ends by net.ErrClosed; set before the first, may be nil

	mu       sync.Mutex
	state    gateState
	deadline time.Time     // the program's own
	changed  chan struct{} // closed at the next change of the above
	nudged   bool          // the next wait, or the one under way, returns errNudged
	reads    int           // under way
	told     sync.Once     // calls toldEnd
	settled  chan struct{} // closed when there is none; nil if nobody waits
}

type gateState int

const (
	gateOpen gateState = iota
	gatePaused
	gateClosed
)

func newGate(interrupt func(time.Time) error, state gateState) *gate {
	g := &gate{interrupt: interrupt, state: state, changed: make(chan struct{})}
	if state != gateOpen {
		g.apply()
	}
	return g
}

// aLongTimeAgo is a deadline that is over.
var aLongTimeAgo = time.Unix(1, 0)

// apply tells the socket about the state; g.mu is held.
func (g *gate) apply() {
	t := g.deadline
	if g.state != gateOpen || g.nudged {
		t = aLongTimeAgo
	}
	// It fails only on a socket that is closed, where no read blocks.
	_ = g.interrupt(t)
}

// set moves the gate to a state. A closed gate stays closed.
func (g *gate) set(state gateState) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == gateClosed || g.state == state {
		return
	}
	g.state = state
	g.changeLocked()
}

// setDeadline is the program's SetReadDeadline.
func (g *gate) setDeadline(t time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == gateClosed {
		return net.ErrClosed
	}
	g.deadline = t
	g.changeLocked()
	return nil
}

// errNudged is what nudge makes of a pass.
var errNudged = errors.New("handoff: nudged")

// nudge ends the pass that is under way, or the next one.
func (g *gate) nudge() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.nudged = true
	g.changeLocked()
}

func (g *gate) changeLocked() {
	g.apply()
	close(g.changed)
	g.changed = make(chan struct{})
}

// pass runs read when the gate lets it, again after each interruption that the
// program has not asked for.
func (g *gate) pass(read func() error) error {
	for {
		passed, err := g.wait()
		if err != nil {
			return g.tell(err)
		}
		err = read()
		g.leave()
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || !g.hasChanged(passed) {
			return g.tell(err)
		}
	}
}

func (g *gate) tell(err error) error {
	if g.toldEnd != nil && errors.Is(err, net.ErrClosed) {
		g.told.Do(g.toldEnd)
	}
	return err
}

// leave is when a read that wait has let through is over.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reads--
	if g.reads == 0 && g.settled != nil {
		close(g.settled)
		g.settled = nil
	}
}

// quiet returns a channel that is closed when no read is under way: after set(gatePaused)
// nothing can be taken from the socket any more then. Until then a read that was
// about to ask the kernel can still find something there.
func (g *gate) quiet() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.settled != nil {
		return g.settled
	}
	c := make(chan struct{})
	if g.reads == 0 {
		close(c)
	} else {
		g.settled = c
	}
	return c
}

// wait returns when the gate is open, with what tells of the next change, or the
// error that ends a read.
func (g *gate) wait() (changed chan struct{}, err error) {
	for {
		g.mu.Lock()
		if g.nudged {
			g.nudged = false
			g.apply()
			g.mu.Unlock()
			return nil, errNudged
		}
		state, changed, deadline := g.state, g.changed, g.deadline
		if state == gateOpen {
			g.reads++
		}
		g.mu.Unlock()
		switch state {
		case gateOpen:
			return changed, nil
		case gateClosed:
			return nil, net.ErrClosed
		}
		if deadline.IsZero() {
			<-changed
			continue
		}
		timer := time.NewTimer(time.Until(deadline))
		select {
		case <-changed:
			timer.Stop()
		case <-timer.C:
			return nil, os.ErrDeadlineExceeded
		}
	}
}

// hasChanged tells whether a read that began after wait had returned changed may
// have been interrupted by the gate. If not, it was the program's own deadline;
// no clock need be asked, which may have been set back.
func (g *gate) hasChanged(changed chan struct{}) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changed != changed
}
