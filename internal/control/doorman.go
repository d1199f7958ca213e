package control

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Rule says who may control a service.
type Rule struct {
	UID int // this user, and root
	GID int // and the members of this group; -1: of none
}

// doorman lets in whom its rule allows, and a limited number at a time. When the
// house is full, who has waited longest to say what it wants, or has said nothing
// since its last answer, has to go; so nobody can keep others out by silence.
type doorman struct {
	max int
	log *slog.Logger

	mu     sync.Mutex
	inside map[*visitor]*visit
	room   chan struct{} // closed when somebody leaves; nil if nobody waits
	warned bool
}

// visit is one connection.
type visit struct {
	silent bool // it has no request under way
	since  time.Time
}

// courtesy is how long a connection may be silent before it has to make room.
const courtesy = 250 * time.Millisecond

func newDoorman(max int, log *slog.Logger) *doorman {
	return &doorman{max: max, log: log, inside: make(map[*visitor]*visit)}
}

// guard returns ln with the doorman before it.
func (d *doorman) guard(ln *net.UnixListener, rule Rule) net.Listener {
	return &guarded{UnixListener: ln, door: d, rule: rule}
}

type guarded struct {
	*net.UnixListener
	door *doorman
	rule Rule
}

func (g *guarded) Accept() (net.Conn, error) {
	for {
		c, err := g.UnixListener.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if err := g.rule.allows(c); err != nil {
			g.door.refuse(err)
			c.Close()
			continue
		}
		v := &visitor{UnixConn: c}
		if g.door.admit(v) {
			return v, nil
		}
		c.Close()
	}
}

// visitor is a connection that knows whether the server waits for what it says.
type visitor struct {
	*net.UnixConn
	awaited atomic.Bool
}

// Read notes the wait. When net/http has all of a request it waits for one byte, to
// learn that the client goes; that doesn't count.
func (v *visitor) Read(p []byte) (int, error) {
	if len(p) > 1 {
		v.awaited.Store(true)
		defer v.awaited.Store(false)
	}
	return v.UnixConn.Read(p)
}

// isSilent tells whether the server waits for what the connection says, and it says
// nothing. If it has said something that was not read, or not been answered yet, we are
// slow.
func (v *visitor) isSilent() bool {
	return v.awaited.Load() && !hasUnread(v) && v.awaited.Load()
}

// refuse tells of the first that was refused; anyone can cause thousands.
func (d *doorman) refuse(why error) {
	d.mu.Lock()
	level := slog.LevelWarn
	if d.warned {
		level = slog.LevelDebug
	}
	d.warned = true
	d.mu.Unlock()
	d.log.Log(context.Background(), level, "control socket: a client was refused", "error", why)
}

// admit finds room for a connection.
func (d *doorman) admit(c *visitor) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for end := time.Now().Add(patience); len(d.inside) >= d.max; {
		if d.dismissLocked() {
			break
		}
		if !time.Now().Before(end) {
			return false
		}
		if d.room == nil {
			d.room = make(chan struct{})
		}
		room := d.room
		d.mu.Unlock()
		select {
		case <-room:
		case <-time.After(courtesy / 10):
		}
		d.mu.Lock()
	}
	d.inside[c] = &visit{silent: true, since: time.Now()}
	return true
}

// dismissLocked closes the connection that has been silent longest, if that is long
// enough.
func (d *doorman) dismissLocked() bool {
	var longest *visitor
	var since time.Time
	for c, v := range d.inside {
		if v.silent && time.Since(v.since) >= courtesy && (longest == nil || v.since.Before(since)) && c.isSilent() {
			longest, since = c, v.since
		}
	}
	if longest == nil {
		return false
	}
	delete(d.inside, longest)
	longest.Close()
	return true
}

// dismissSilent closes all connections that have no request under way.
func (d *doorman) dismissSilent() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c, v := range d.inside {
		if v.silent && c.isSilent() {
			delete(d.inside, c)
			c.Close()
		}
	}
}

// note is the server's hook. A connection counts as busy only once its request has
// been read, for one can be sent byte by byte.
func (d *doorman) note(c net.Conn, state http.ConnState) {
	from, _ := c.(*visitor)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch v := d.inside[from]; {
	case v == nil:
	case state == http.StateClosed || state == http.StateHijacked:
		d.leftLocked(from)
	case state == http.StateIdle:
		v.silent, v.since = true, time.Now()
	}
}

// busy is when a connection's request has been read.
func (d *doorman) busy(c net.Conn) {
	from, _ := c.(*visitor)
	d.mu.Lock()
	defer d.mu.Unlock()
	if v := d.inside[from]; v != nil {
		v.silent = false
	}
}

func (d *doorman) leftLocked(c *visitor) {
	delete(d.inside, c)
	if d.room != nil {
		close(d.room)
		d.room = nil
	}
}
