package handoff

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// socketListener is what *net.TCPListener and *net.UnixListener have in common.
type socketListener interface {
	net.Listener
	syscall.Conn
	SetDeadline(time.Time) error
}

// listener is a listener that can be paused and resumed, and that its program
// and its Upgrader may close.
type listener struct {
	socketListener
	gate *gate

	// For connections that come from an older generation:
	name     string
	up       *Upgrader
	lobby    *lobby     // where they wait; nil if none may come. Guarded by up.mu
	drain    *httpDrain // of the server that serves them
	mu       sync.Mutex
	arrivals []delivery // that Accept returns next
	deaf     bool       // Accept has said that there will be no more
	hall     hall       // of connections with their state

	accepted, moved atomic.Uint64 // connections that Accept has returned

	once     sync.Once
	onClose  func() // tells the Upgrader of the program's Close
	closeErr error
}

func newListener(inner socketListener, state gateState) *listener {
	if u, ok := inner.(*net.UnixListener); ok {
		// Another generation may be accepting there; see Upgrader.unlink.
		u.SetUnlinkOnClose(false)
	}
	return &listener{socketListener: inner, gate: newGate(inner.SetDeadline, state)}
}

// Accept waits for the next connection. While a successor is on probation it
// waits for the outcome. After Close, or when the successor has taken over, it
// returns an error that is [net.ErrClosed].
func (l *listener) Accept() (net.Conn, error) {
	conn, _, err := l.accept()
	return conn, err
}

// delivery is a connection of an older generation that has begun to speak.
type delivery struct {
	conn net.Conn
	wait wait
}

// accept is Accept, and tells since when the connection waits for its first request.
func (l *listener) accept() (net.Conn, wait, error) {
	conn, w, err := l.next()
	if err == nil && l.up != nil {
		conn = keepAlive(l.up.opts.ListenConfig, conn)
	}
	return conn, w, err
}

func (l *listener) next() (conn net.Conn, w wait, err error) {
	l.hall.comeBack()
	for {
		if c := l.hall.next(false); c != nil {
			l.moved.Add(1)
			return c, w, nil
		}
		if a := l.arrival(false); a.conn != nil {
			l.moved.Add(1)
			return a.conn, a.wait, nil
		}
		err = l.gate.pass(func() error {
			conn, err = l.socketListener.Accept()
			return err
		})
		switch {
		case err == nil:
			l.accepted.Add(1)
			return conn, w, nil
		case err == errNudged:
			continue
		case errors.Is(err, net.ErrClosed):
			if c := l.hall.next(true); c != nil {
				return c, w, nil
			}
			if a := l.arrival(true); a.conn != nil {
				return a.conn, a.wait, nil
			}
		}
		if err == net.ErrClosed {
			err = &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: err}
		}
		return nil, w, err
	}
}

// deliver has Accept return a connection. It returns false if nobody will call
// that any more.
func (l *listener) deliver(c net.Conn, w wait) bool {
	l.mu.Lock()
	if l.deaf {
		l.mu.Unlock()
		return false
	}
	l.arrivals = append(l.arrivals, delivery{c, w})
	l.mu.Unlock()
	l.gate.nudge()
	return true
}

// arrival returns the next that was delivered. With last, none says that there will
// be none.
func (l *listener) arrival(last bool) (next delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.arrivals) == 0 {
		l.deaf = l.deaf || last
		return next
	}
	next, l.arrivals = l.arrivals[0], l.arrivals[1:]
	return next
}

// SetDeadline sets the deadline of Accept.
func (l *listener) SetDeadline(t time.Time) error { return l.gate.setDeadline(t) }

// Close stops listening here. The listener isn't handed on.
func (l *listener) Close() error {
	if l.onClose != nil {
		l.onClose()
	}
	return l.end()
}

// end closes the socket here, whoever else has it open.
func (l *listener) end() error {
	l.once.Do(func() {
		l.gate.set(gateClosed)
		l.closeErr = l.socketListener.Close()
	})
	return l.closeErr
}
