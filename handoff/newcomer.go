package handoff

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

// hall is where connections that come with state wait until the program's Accept
// takes them. Until then they are their sender's, who may go on to serve them.
type hall struct {
	mu      sync.Mutex
	waiting []*newcomer
	shut    bool     // nobody calls Accept any more
	out     bool     // Accept has returned one, and was not called since
	back    []func() // to be called when it is
}

// newcomer is a connection in a hall.
type newcomer struct {
	conn  net.Conn
	state []byte
	from  *relative
	id    uint64
	late  *time.Timer
}

// arrivalWait is how long a connection waits for Accept.
const arrivalWait = 5 * time.Second

// answer says to the sender what has become of it.
func (a *newcomer) answer(taken, again bool) {
	// Who doesn't hear it is dead, or stopped: then the connection is ours alone, or
	// nobody reads from it but us.
	_ = a.from.conn.Send(linkWait, link.KindMoved, link.Moved{ID: a.id, Taken: taken, Again: again})
}

// enter has a connection wait. It returns false if nobody calls Accept any more.
func (h *hall) enter(a *newcomer, wait time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.shut {
		return false
	}
	h.waiting = append(h.waiting, a)
	a.late = time.AfterFunc(wait, func() { h.refuse(false, func(other *newcomer) bool { return other == a }) })
	return true
}

// next returns the next connection for Accept. With last, nil shuts the hall.
func (h *hall) next(last bool) net.Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.waiting) == 0 {
		h.shut = h.shut || last
		return nil
	}
	a := h.waiting[0]
	h.waiting = h.waiting[1:]
	a.late.Stop()
	// Under the lock, so that its link isn't handed on before.
	a.answer(true, false)
	rememberState(a.conn, a.state)
	h.out = true
	return a.conn
}

// refuse gives connections back to their sender.
func (h *hall) refuse(again bool, which func(*newcomer) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting = slices.DeleteFunc(h.waiting, func(a *newcomer) bool {
		if !which(a) {
			return false
		}
		a.late.Stop()
		a.conn.Close()
		a.answer(false, again)
		return true
	})
}

// comeBack is a call of Accept.
func (h *hall) comeBack() {
	h.mu.Lock()
	back := h.back
	h.out, h.back = false, nil
	h.mu.Unlock()
	for _, do := range back {
		do()
	}
}

// whenBack does something when all that Accept has returned so far was seen to: when
// it was called again.
func (h *hall) whenBack(do func()) {
	h.mu.Lock()
	if h.out && !h.shut {
		h.back = append(h.back, do)
		do = nil
	}
	h.mu.Unlock()
	if do != nil {
		do()
	}
}

// admit takes a connection with its state from an older generation, between two
// messages of its link.
func (u *Upgrader) admit(r *relative, m link.Message) {
	defer m.Close()
	var body link.Move
	if m.Decode(&body) != nil {
		return
	}
	l, a, err := u.newcomerOf(r, body, m.Files)
	if err == nil && !l.hall.enter(a, arrivalWait) {
		err = net.ErrClosed
		a.conn.Close()
	}
	if err != nil {
		u.log.Warn("not taking a connection of an older generation", "older", r.PID, "listener", body.Name, "error", err)
		(&newcomer{from: r, id: body.ID}).answer(false, false)
		return
	}
	l.gate.nudge()
}

func (u *Upgrader) newcomerOf(r *relative, body link.Move, files []*os.File) (*listener, *newcomer, error) {
	l := u.hallOf(body.Name, body.Address)
	if l == nil {
		return nil, nil, errors.New("there is no such listener")
	}
	state := body.State
	if body.Size != 0 && len(files) == 2 {
		if body.Size > MaxMoveState {
			return nil, nil, fmt.Errorf("%d bytes of state, at most %d are allowed", body.Size, MaxMoveState)
		}
		file, err := stateOf(files[1:], body.Size)
		if err != nil {
			return nil, nil, fmt.Errorf("its state: %w", err)
		}
		state = make([]byte, body.Size)
		if _, err := io.ReadFull(io.NewSectionReader(file, 0, body.Size), state); err != nil {
			return nil, nil, fmt.Errorf("its state: %w", err)
		}
	} else if len(files) != 1 || body.Size != 0 {
		return nil, nil, fmt.Errorf("%d files came with it", len(files))
	}
	conn, err := net.FileConn(files[0])
	if err != nil {
		return nil, nil, err
	}
	if _, err := streamConn(conn); err != nil {
		conn.Close()
		return nil, nil, err
	}
	return l, &newcomer{conn: conn, state: state, from: r, id: body.ID}, nil
}

// hallOf returns the listener of a name, preferably at this address.
func (u *Upgrader) hallOf(name, address string) (found *listener) {
	for _, l := range u.halls() {
		if l.name != name {
			continue
		}
		if found = l; l.Addr().String() == address {
			break
		}
	}
	return found
}

func (u *Upgrader) halls() (halls []*listener) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, s := range u.shared {
		if s.hall != nil {
			halls = append(halls, s.hall)
		}
	}
	return halls
}

// sendBack gives an older generation back what still waits here of it; with again it
// is to send that to the next one, to which its link goes.
func (u *Upgrader) sendBack(r *relative, again bool) {
	for _, l := range u.halls() {
		l.hall.refuse(again, func(a *newcomer) bool { return a.from == r })
	}
}
