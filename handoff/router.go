package handoff

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// router is a datagram socket of a protocol with connections. What it reads may be an
// older generation's, to which it is forwarded; and what a younger one forwards comes
// out of its ReadFrom. It hides the other methods of *net.UDPConn, because libraries
// that find them read past any wrapper.
type router struct {
	*packetGate
	up    *Upgrader
	owner func([]byte, net.Addr) int

	ways   atomic.Pointer[ways] // nil as long as there are none
	mu     sync.Mutex           // held by who changes ways
	closed chan struct{}        // by Close; guarded by mu
}

// ways are the connections of one socket with other generations. They are replaced,
// never changed.
type ways struct {
	inbox *inbox    // from younger generations; nil before the first upgrade
	older []*outlet // to older generations that drain
}

func newRouter(u *Upgrader, p *packetGate, owner func([]byte, net.Addr) int, older []*outlet) *router {
	r := &router{packetGate: p, up: u, owner: owner, closed: make(chan struct{})}
	if len(older) > 0 {
		r.ways.Store(&ways{older: older})
	}
	return r
}

// ReadFrom returns the next datagram that belongs to this generation.
func (r *router) ReadFrom(b []byte) (n int, from net.Addr, err error) {
	for {
		w := r.ways.Load()
		if w != nil && w.inbox != nil {
			if d, more, ok := w.inbox.next(); ok {
				if more {
					r.gate.nudge() // for another that is reading
				}
				return copy(b, d.data), d.from, nil
			}
		}
		err = r.read(func() error { n, from, err = r.inner.ReadFrom(b); return err })
		if err == errNudged {
			continue // something has come into the inbox
		}
		if err != nil {
			return 0, nil, err
		}
		if w = r.ways.Load(); w == nil || !r.forward(w, b[:n], from) {
			return n, from, nil
		}
	}
}

// forward sends a datagram to the older generation whose it is. It returns false if
// the datagram is for this one.
func (r *router) forward(w *ways, datagram []byte, from net.Addr) bool {
	generation := r.owner(datagram, from)
	if w.inbox != nil && generation == r.up.generation+1 {
		// A successor reads already, and we do for a moment more. Its client sends it
		// again; it must not get the answer that nobody knows its connection.
		return true
	}
	for _, o := range w.older {
		if o.generation != generation {
			continue
		}
		if o.send(datagram, from) {
			return true
		}
		r.forget(generation) // it has no more use for it
		return false
	}
	return false
}

// WriteTo sends a datagram from the socket, until Close.
func (r *router) WriteTo(b []byte, to net.Addr) (int, error) { return r.inner.WriteTo(b, to) }

// SetWriteDeadline sets the deadline of writes.
func (r *router) SetWriteDeadline(t time.Time) error { return r.inner.SetWriteDeadline(t) }

// LocalAddr returns the socket's address.
func (r *router) LocalAddr() net.Addr { return r.inner.LocalAddr() }

// SyscallConn is for socket options. Reading by it isn't under control.
func (r *router) SyscallConn() (syscall.RawConn, error) { return r.inner.SyscallConn() }

// SetReadBuffer sets the size of the socket's queue.
func (r *router) SetReadBuffer(bytes int) error {
	return r.inner.(interface{ SetReadBuffer(int) error }).SetReadBuffer(bytes)
}

// SetWriteBuffer sets the size of the socket's queue of what is being sent.
func (r *router) SetWriteBuffer(bytes int) error {
	return r.inner.(interface{ SetWriteBuffer(int) error }).SetWriteBuffer(bytes)
}

// Close closes the socket here, and ends what comes from other generations and goes
// to them. It isn't handed on.
func (r *router) Close() error {
	err := r.packetGate.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	closeOnce(r.closed)
	if w := r.ways.Swap(nil); w != nil {
		closeOutlets(w.older)
		if w.inbox != nil {
			w.inbox.close()
		}
	}
	return err
}

func (r *router) isClosed() bool {
	select {
	case <-r.closed:
		return true
	default:
		return false
	}
}

// end is when this generation takes on no more flows. If it has handed over, what
// belongs to its own comes from the successor. If the service ends with it, nobody
// else reads the socket.
func (r *router) end() error {
	if r.up.endsService() {
		r.gate.set(gateOpen)
	} else {
		r.gate.set(gatePaused)
	}
	go func() {
		select {
		case <-r.closed:
		case <-r.up.done:
			r.gate.set(gateClosed)
		}
	}()
	return nil
}

// endsService tells whether this generation is the last of the service.
func (u *Upgrader) endsService() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.main && u.ended == ErrStopping
}

// forget removes the way to a generation.
func (r *router) forget(generation int) {
	r.keep(func(o *outlet) bool { return o.generation != generation })
}

// keep removes the ways to older generations that want doesn't want.
func (r *router) keep(want func(*outlet) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.ways.Load()
	if w == nil {
		return
	}
	var stay, leave []*outlet
	for _, o := range w.older {
		if want(o) {
			stay = append(stay, o)
		} else {
			leave = append(leave, o)
		}
	}
	switch {
	case len(leave) == 0:
		return
	case len(stay) == 0 && w.inbox == nil:
		r.ways.Store(nil)
	default:
		r.ways.Store(&ways{inbox: w.inbox, older: stay})
	}
	closeOutlets(leave)
}

// outlets returns the ways that a successor is to have: to this generation, and to
// the older ones, the youngest first.
func (r *router) outlets(generation int) ([]*outlet, error) {
	r.keep((*outlet).alive)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isClosed() {
		return nil, nil
	}
	w := ways{}
	if now := r.ways.Load(); now != nil {
		w = *now
	}
	if w.inbox == nil {
		in, err := newInbox(r.gate.nudge)
		if err != nil {
			return nil, err
		}
		w.inbox = in
		r.ways.Store(&w)
	}
	all := append([]*outlet{{generation: generation, file: w.inbox.sending}}, w.older...)
	slices.SortFunc(all, func(a, b *outlet) int { return b.generation - a.generation })
	return all, nil
}
