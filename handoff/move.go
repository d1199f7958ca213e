package handoff

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"syscall"
	"weak"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

// Errors of [Upgrader.Move], after which the connection is the caller's as before.
var (
	// ErrNoSuccessor: there is no successor that takes connections with state: none
	// has taken over, or the one that has is another program or an older version.
	ErrNoSuccessor = errors.New("handoff: there is no successor that takes connections with state")
	// ErrNotTaken: the successor has no such listener any more, or did not call its
	// Accept in time, or has died.
	ErrNotTaken = errors.New("handoff: the successor did not take the connection")
)

// MaxMoveState is how many bytes of state may come with a connection.
const MaxMoveState = 16 << 20

// Move gives a connection of the program's own protocol to the successor, together
// with what this generation knows of it. In the successor it comes out of the
// Accept of the listener that has ln's name (and address, if there are several), and
// [StateOf] returns state. Call it when this generation drains (see
// [Upgrader.Draining] and [Service]), for any number of connections at a time.
//
// ln is a listener of [Upgrader.Listen]; conn is a TCP or unix stream connection,
// most often one that ln has accepted: a *net.TCPConn, a *net.UnixConn or what embeds
// one. Nothing may read from it or write to it meanwhile; what was read and not
// yet answered, or not yet written, belongs into state. state may be empty, and at
// most [MaxMoveState].
//
// nil says that the successor's Accept has returned the connection; it is closed
// here. [ErrNoSuccessor] and [ErrNotTaken] say that it has not, and that conn is the
// caller's as before, to be served to its end; so do errors about the arguments. If
// ctx ends meanwhile, the error is its cause and conn is closed here, be it the
// successor's by then or not.
func (u *Upgrader) Move(ctx context.Context, ln net.Listener, conn net.Conn, state []byte) error {
	l, ok := ln.(*listener)
	if !ok || l.up != u {
		return fmt.Errorf("handoff: move: the listener is a %T, not of this Upgrader's Listen", ln)
	}
	c, err := streamConn(conn)
	if err != nil {
		return fmt.Errorf("handoff: move: %w", err)
	}
	if len(state) > MaxMoveState {
		return fmt.Errorf("handoff: move: %d bytes of state, at most %d are allowed", len(state), MaxMoveState)
	}
	m := u.currentPorter()
	if m == nil {
		return ErrNoSuccessor
	}
	bag, err := pack(state)
	if err != nil {
		return fmt.Errorf("handoff: move: its state: %w", err)
	}
	defer bag.close()
	taken := make(chan bool, 1)
	bag.stay = func() { taken <- false }
	e := &emigrant{conn: c, from: l, luggage: bag, gone: func() { taken <- true }}
	m.send(e)
	select {
	case t := <-taken:
		if !t {
			return ErrNotTaken
		}
		return nil
	case <-ctx.Done():
	}
	m.abandon(e)
	conn.Close()
	return fmt.Errorf("handoff: move: %w", context.Cause(ctx))
}

// streamConn returns conn if it can be sent.
func streamConn(conn net.Conn) (socketConn, error) {
	c, ok := conn.(socketConn)
	if !ok {
		return nil, fmt.Errorf("a %T has no socket of its own", conn)
	}
	if network := c.LocalAddr().Network(); network != "tcp" && network != "unix" {
		return nil, net.UnknownNetworkError(network)
	}
	return c, nil
}

func (u *Upgrader) currentPorter() *mover {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.porter
}

// luggage is what goes with a connection.
type luggage struct {
	state []byte // what the message has room for
	file  *stateFile
	size  int64 // of what is in the file
	stay  func()

	mu     sync.Mutex
	closed bool
}

// inMessage is how many bytes of state go into the message itself; it is smaller
// than a socket's buffer.
const inMessage = 32 << 10

func pack(state []byte) (*luggage, error) {
	if len(state) <= inMessage {
		return &luggage{state: state}, nil
	}
	f, err := newStateFile()
	if err != nil {
		return nil, err
	}
	if _, err = f.write.Write(state); err == nil {
		err = f.seal()
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return &luggage{file: f, size: int64(len(state))}, nil
}

func (b *luggage) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.file != nil {
		b.file.close()
	}
}

// send sends the connection with its state.
func (b *luggage) send(m *mover, body link.Move, conn syscall.Conn) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errGivenUp
	}
	body.State, body.Size = b.state, b.size
	files := []syscall.Conn{conn}
	if b.file != nil {
		files = append(files, b.file.read)
	}
	return m.link.Send(m.wait, link.KindMove, body, files...)
}

// stay is when a connection was not taken.
func (e *emigrant) stay() { e.luggage.stay() }

// abandon is when nobody waits any more for what becomes of a connection.
func (m *mover) abandon(e *emigrant) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.abandoned = true
	for first, batch := range m.away {
		if batch[0] == e {
			delete(m.away, first)
			<-m.room
		}
	}
}

// sendAgain sends a connection anew, which the other side has not taken: the link
// leads to the next generation by now.
func (m *mover) sendAgain(id uint64) {
	if batch, ok := m.returned(id); ok {
		for _, e := range batch {
			m.send(e)
		}
	}
}

// movedStates has the states of the connections that Accept has returned, by weak
// pointer: a program that doesn't ask for one keeps nothing alive.
var movedStates sync.Map

// StateOf returns the state with which an older generation has given a connection to
// this one by [Upgrader.Move], and forgets it. conn is what Accept has returned, not
// what wraps it. false says that it came in no such way: it is a new one.
func StateOf(conn net.Conn) (state []byte, ok bool) {
	value, ok := movedStates.LoadAndDelete(weakly(conn))
	if !ok {
		return nil, false
	}
	return value.([]byte), true
}

// rememberState is StateOf's other side.
func rememberState(conn net.Conn, state []byte) {
	key := weakly(conn)
	movedStates.Store(key, state)
	switch c := conn.(type) {
	case *net.TCPConn:
		runtime.AddCleanup(c, forgetState, key)
	case *net.UnixConn:
		runtime.AddCleanup(c, forgetState, key)
	}
}

func forgetState(key any) { movedStates.Delete(key) }

func weakly(conn net.Conn) any {
	switch c := conn.(type) {
	case *net.TCPConn:
		return weak.Make(c)
	case *net.UnixConn:
		return weak.Make(c)
	}
	return nil
}
