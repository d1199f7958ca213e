package handoff

import (
	"net"
	"sync"
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
func (l *listener) Accept() (conn net.Conn, err error) {
	err = l.gate.pass(func() error {
		conn, err = l.socketListener.Accept()
		return err
	})
	if err == net.ErrClosed {
		err = &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: err}
	}
	if err != nil {
		return nil, err
	}
	return conn, nil
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
