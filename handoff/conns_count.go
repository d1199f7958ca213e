package handoff

import (
	"crypto/tls"
	"net"
)

// serves notes that a server accepts at ln, and returns the listener if it is one of
// ours.
func (s *connSet) serves(ln net.Listener) *listener {
	l, ok := ln.(*listener)
	if !ok {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.from == nil {
		s.from = make(map[*listener]struct{})
	}
	s.from[l] = struct{}{}
	return l
}

// countInto adds the open connections to the counts of their listeners.
func (s *connSet) countInto(open map[*listener]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.from {
		open[l] += 0
	}
	for c := range s.conns {
		if t, ok := c.(*tls.Conn); ok {
			c = t.NetConn()
		}
		if h, ok := c.(interface{ cameInAt() *listener }); ok {
			if l := h.cameInAt(); l != nil {
				open[l]++
			}
		}
	}
}

func (c *servedConn) setHome(l *listener) { c.home = l }

func (c *servedConn) cameInAt() *listener {
	if c.home != nil {
		return c.home
	}
	return c.from
}

func (g *guest) cameInAt() *listener { return g.from }
