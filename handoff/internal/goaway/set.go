package goaway

import (
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"
)

// Notice is the time between the two GOAWAY frames. What a client has sent before it
// heard of the first is answered, so this is to be a round trip or more.
const Notice = time.Second

// Set is the HTTP/2 connections of a server.
type Set struct {
	// Begun, if not nil, is called with a connection that turns out to be HTTP/2: the one
	// that Follow or Wrap was given.
	Begun func(net.Conn)

	seen     func() Behaviour
	atAccept bool // HTTP/2 over TLS is served on any net.Conn
	foreign  bool // HTTP/2 over TLS is somebody else's, who wants *tls.Conn

	mu    sync.Mutex
	conns map[*Conn]struct{}
	when  func(turn float32) time.Duration // until a connection leaves; nil if none does
	over  bool                             // all are dismissed
}

// Leave has each connection leave, also those that are still to come. when tells how long
// to wait for that; a connection's turn is a random number between 0 and 1. A second
// call changes when.
func (s *Set) Leave(when func(turn float32) time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.when = when
	for c := range s.conns {
		s.schedule(c)
	}
}

func (s *Set) schedule(c *Conn) {
	if c.timer != nil {
		c.timer.Stop()
	}
	c.timer = time.AfterFunc(s.when(c.turn), func() {
		if s.seen().Serves {
			c.leave()
		}
	})
}

// Dismiss has the server send its GOAWAY on all connections, at once.
func (s *Set) Dismiss() {
	s.mu.Lock()
	s.over = true
	all := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		c.dismiss()
	}
}

// told is called when the first GOAWAY is under way.
func (s *Set) told(c *Conn) { time.AfterFunc(Notice, c.dismiss) }

func (s *Set) add(c *Conn) {
	if s.Begun != nil {
		s.Begun(c.raw)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		s.conns = make(map[*Conn]struct{})
	}
	s.conns[c] = struct{}{}
	c.turn = rand.Float32()
	if s.when != nil {
		s.schedule(c)
	}
	if s.over {
		go c.dismiss()
	}
}

func (s *Set) remove(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if c.timer != nil {
		c.timer.Stop()
	}
}

// Follow follows a connection of which read has been read so far; nil if that can't be
// the beginning of HTTP/2. The caller reads, writes and sets read deadlines by what it
// returns, and calls its Closed.
func (s *Set) Follow(c net.Conn, read []byte) *Conn {
	if n := min(len(read), len(preface)); !strings.HasPrefix(preface, string(read[:n])) {
		return nil
	}
	f := &Conn{raw: c, set: s}
	f.begun(read)
	return f
}
