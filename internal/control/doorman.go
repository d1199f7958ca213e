package control

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
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
	inside map[net.Conn]*visit
	room   chan struct{} // closed when somebody leaves; nil if nobody waits
	warned bool
}

// visit is one connection.
type visit struct {
	silent bool // it has no request under way
	since  time.Time
}

// courtesy is how long a connection may be silent before it has to make room.
const courtesy = 100 * time.Millisecond

func newDoorman(max int, log *slog.Logger) *doorman {
	return &doorman{max: max, log: log, inside: make(map[net.Conn]*visit)}
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
		if g.door.admit(c) {
			return c, nil
		}
		c.Close()
	}
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
func (d *doorman) admit(c net.Conn) bool {
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
		case <-time.After(courtesy / 4):
		}
		d.mu.Lock()
	}
	d.inside[c] = &visit{silent: true, since: time.Now()}
	return true
}

// dismissLocked closes the connection that has been silent longest, if that is long
// enough. Who has said something that was not read yet is not silent: we are slow.
func (d *doorman) dismissLocked() bool {
	var longest net.Conn
	var since time.Time
	for c, v := range d.inside {
		if v.silent && time.Since(v.since) >= courtesy && (longest == nil || v.since.Before(since)) && !hasUnread(c) {
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
		if v.silent {
			delete(d.inside, c)
			c.Close()
		}
	}
}

// note is the server's hook. A connection counts as busy only once its request has
// been read, for one can be sent byte by byte.
func (d *doorman) note(c net.Conn, state http.ConnState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch v := d.inside[c]; {
	case v == nil:
	case state == http.StateClosed || state == http.StateHijacked:
		d.leftLocked(c)
	case state == http.StateIdle:
		v.silent, v.since = true, time.Now()
	}
}

// busy is when a connection's request has been read.
func (d *doorman) busy(c net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if v := d.inside[c]; v != nil {
		v.silent = false
	}
}

func (d *doorman) leftLocked(c net.Conn) {
	delete(d.inside, c)
	if d.room != nil {
		close(d.room)
		d.room = nil
	}
}
