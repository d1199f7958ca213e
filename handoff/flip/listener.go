package flip

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// handedListener is what handoff.Upgrader.Listen returns.
type handedListener interface {
	net.Listener
	syscall.Conn
	SetDeadline(time.Time) error
}

// listener is one whose Accept ends only when the program closes it. handoff ends it at
// the hand-over; but a program written for tableflip expects that no sooner than its own
// http.Server.Shutdown, and may take it for a fault and exit with requests in flight.
type listener struct {
	handedListener
	once   sync.Once
	closed chan struct{}
}

func wrap(ln net.Listener, err error) (net.Listener, error) {
	if err != nil {
		return nil, err
	}
	return &listener{handedListener: ln.(handedListener), closed: make(chan struct{})}, nil
}

// Accept waits for the next connection, and after the hand-over for Close.
func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.handedListener.Accept()
	if errors.Is(err, net.ErrClosed) {
		<-l.closed
	}
	return conn, err
}

// Close stops listening. The listener isn't passed on any more.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.handedListener.Close()
}
