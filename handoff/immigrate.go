package handoff

import "github.com/handoff-dev/handoff/handoff/internal/link"

// immigrate takes connections that an older generation sends; it is called
// between two messages of its link, so that what it answers is true also if the
// link is handed on right after. Of their descriptors only the first ones have come if
// this process may have no more: the others stay where they are.
func (u *Upgrader) immigrate(r *relative, m link.Message) {
	var c link.Connections
	if m.Decode(&c) != nil {
		m.Close()
		return
	}
	taken := 0
	if to := u.lobbyOf(c.Name, c.Address); to != nil {
		waits := make([]wait, len(m.Sockets))
		for i := range waits {
			waits[i] = waitOf(c.Age(i))
		}
		to.lobby.enter(m.Sockets, waits, to)
		taken = len(m.Sockets)
	}
	m.Sockets = m.Sockets[taken:]
	m.Close()
	if err := r.conn.Send(linkWait, link.KindTaken, link.Taken{First: c.First, Taken: taken}); err != nil {
		u.log.Debug("acknowledging connections", "error", err)
	}
}

// lobbyOf returns the listener that connections belong to.
func (u *Upgrader) lobbyOf(name, address string) (to *listener) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, l := range u.lobbies {
		if l.name != name {
			continue
		}
		if to = l; l.Addr().String() == address {
			break
		}
	}
	return to
}
