package handoff

import (
	"net"
	"slices"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

// settling is somebody who waits until no more connections come.
type settling struct {
	at   link.Settled
	from *listener
	done chan struct{}
}

func placeOf(l *listener) link.Settled {
	return link.Settled{Name: l.name, Address: l.Addr().String()}
}

// Settled returns a channel that is closed when no older generation moves a
// connection to ln any more (see [Upgrader.Move]): there is none, or each has said so
// by [Upgrader.MovedAll] or has ended. The predecessor has handed over by then, or
// died before it could; its last word, if it had one, was taken (see
// [Upgrader.TakeLast]). All connections that have come were returned by Accept, and
// Accept was called again, so that a program with one loop over Accept has seen to
// them.
//
// A service whose connections have to do with each other waits for it before it
// lets them. ln is a listener of [Upgrader.Listen]; for any other the channel is closed.
func (u *Upgrader) Settled(ln net.Listener) <-chan struct{} {
	w := &settling{done: make(chan struct{})}
	l, ok := ln.(*listener)
	if !ok || l.up != u {
		close(w.done)
		return w.done
	}
	w.at, w.from = placeOf(l), l
	go u.post(occurrence{run: func() {
		u.settling = append(u.settling, w)
		u.checkSettled()
	}})
	return w.done
}

// MovedAll tells the successor that no more connections come to ln from this
// generation: all calls of Move for it have returned. Without it the successor
// knows when this process ends.
func (u *Upgrader) MovedAll(ln net.Listener) {
	l, ok := ln.(*listener)
	m := u.currentPorter()
	if !ok || l.up != u || m == nil {
		return
	}
	if err := m.link.Send(linkWait, link.KindSettled, placeOf(l)); err != nil {
		u.log.Warn("telling the successor that all connections were moved", "listener", l.name, "error", err)
	}
}

// noteSettled is an older generation's MovedAll.
func (u *Upgrader) noteSettled(r *relative, m link.Message) {
	var at link.Settled
	if m.Decode(&at) != nil || slices.Contains(r.Settled, at) {
		return
	}
	r.Settled = append(r.Settled, at)
	u.checkSettled()
}

// checkSettled tells those who have nothing to wait for any more.
func (u *Upgrader) checkSettled() {
	u.states.mu.Lock()
	taking := u.states.taking > 0
	u.states.mu.Unlock()
	if taking || u.family.predecessor != nil {
		return
	}
	u.settling = slices.DeleteFunc(u.settling, func(w *settling) bool {
		for _, e := range u.family.elders {
			if !slices.Contains(e.Settled, w.at) {
				return false
			}
		}
		w.from.hall.whenBack(func() { close(w.done) })
		return true
	})
}
