package goaway

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Conn follows what a server reads from a connection and writes to it. As soon as that
// is HTTP/2, its Set knows it. One goroutine at a time may read, as everywhere in
// net/http.
type Conn struct {
	raw   net.Conn
	set   *Set
	strip bool // whoever reads expects what follows the client's preface

	other atomic.Bool // it is another protocol: nothing is followed
	asked atomic.Bool // the server was, or is to be, asked for its GOAWAY
	said  atomic.Bool // it has sent one

	rmu      sync.Mutex
	preface  int // bytes of it that have been read
	in       frames
	inject   []byte // to be read before what the client sends next
	reading  bool
	woken    bool // by a deadline of ours
	deadline time.Time

	wmu     sync.Mutex // held during a write
	out     frames
	leaving bool
	told    bool   // it was put among the server's frames
	owed    []byte // what of it is to be written still

	// Of the set, and under its lock:
	turn  float32
	timer *time.Timer
}

var longAgo = time.Unix(1, 0)

// Read is that of net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if c.other.Load() || len(p) == 0 {
		return c.raw.Read(p)
	}
	if c.strip {
		if err := c.readPreface(); err != nil {
			return 0, err
		}
		c.strip = false
	}
	for {
		if n := c.beginRead(p); n > 0 {
			return n, nil
		}
		n, err := c.raw.Read(p)
		if c.endRead(p[:n], err) {
			return n, err
		}
	}
}

func (c *Conn) readPreface() error {
	var p [len(preface)]byte
	if _, err := io.ReadFull(c.raw, p[:]); err != nil {
		return err
	}
	if string(p[:]) != preface {
		return errors.New("handoff: the client's HTTP/2 preface is wrong")
	}
	c.begun(p[:])
	return nil
}

// beginRead takes what is to be read before anything of the client's.
func (c *Conn) beginRead(p []byte) (n int) {
	c.rmu.Lock()
	defer c.rmu.Unlock()
	if len(c.inject) > 0 && c.in.between() {
		n = copy(p, c.inject)
		c.inject = c.inject[n:]
		return n
	}
	c.reading = true
	return 0
}

// endRead tells whether the read's outcome is for the server.
func (c *Conn) endRead(p []byte, err error) bool {
	c.rmu.Lock()
	c.reading = false
	again := false
	if c.woken {
		c.woken = false
		again = c.raw.SetReadDeadline(c.deadline) == nil && len(p) == 0 && errors.Is(err, os.ErrDeadlineExceeded)
	}
	c.rmu.Unlock()
	if len(p) > 0 {
		c.begun(p)
	}
	return !again
}

// begun follows what was read.
func (c *Conn) begun(p []byte) {
	c.rmu.Lock()
	n := min(len(preface)-c.preface, len(p))
	if string(p[:n]) != preface[c.preface:c.preface+n] {
		c.rmu.Unlock()
		c.isOther()
		return
	}
	c.preface += n
	c.in.next(p[n:])
	c.rmu.Unlock()
	if n > 0 && c.preface == len(preface) {
		c.set.add(c)
	}
}

func (c *Conn) isOther() {
	c.other.Store(true)
	c.set.remove(c)
}

// SetReadDeadline is that of net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.other.Load() {
		return c.raw.SetReadDeadline(t)
	}
	c.rmu.Lock()
	defer c.rmu.Unlock()
	c.deadline = t
	if c.woken {
		return nil
	}
	return c.raw.SetReadDeadline(t)
}

// Write is that of net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	if c.other.Load() {
		return c.raw.Write(p)
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if err := c.pay(); err != nil {
		return 0, err
	}
	ahead := c.out
	end := ahead.next(p)
	if ahead.alien {
		c.isOther()
		return c.raw.Write(p)
	}
	if !c.leaving || c.told || ahead.goAway || end == 0 {
		return c.write(p)
	}
	n, err := c.write(p[:end])
	if err != nil {
		return n, err
	}
	c.tell()
	if err := c.pay(); err != nil || end == len(p) {
		return n, err
	}
	m, err := c.write(p[end:])
	return n + m, err
}

// write follows what was really written: after a deadline that may be a part.
func (c *Conn) write(p []byte) (int, error) {
	n, err := c.raw.Write(p)
	c.out.next(p[:n])
	if c.out.goAway {
		c.said.Store(true)
	}
	return n, err
}

func (c *Conn) tell() {
	c.told = true
	c.owed = first
	c.set.told(c)
}

// pay writes the first GOAWAY, or what is missing of it: nothing else may come before
// that.
func (c *Conn) pay() error {
	if len(c.owed) == 0 {
		return nil
	}
	n, err := c.raw.Write(c.owed)
	c.owed = c.owed[n:]
	return err
}

// leave asks the client to go, now or after the frame that is being written. An error is
// that of the server's next write too.
func (c *Conn) leave() {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.leaving = true
	if !c.told && !c.out.goAway && c.out.between() {
		c.tell()
		_ = c.pay()
	}
}

// dismiss has the server send its GOAWAY, if it is one that does when it is asked.
func (c *Conn) dismiss() {
	if c.asked.Swap(true) || !c.set.seen().Answers {
		return
	}
	c.rmu.Lock()
	defer c.rmu.Unlock()
	c.inject = fromClient
	if c.reading && c.in.between() {
		c.woken = true
		_ = c.raw.SetReadDeadline(longAgo) // or with the client's next frame
	}
}

// Tells reports whether the client is told to go without the help of an answer.
func (c *Conn) Tells() bool { return c != nil && !c.other.Load() && c.set.seen().Serves }

// Overdue reports whether the client has been told for long enough, and the server has not
// sent its own GOAWAY: then it may do so with an answer.
func (c *Conn) Overdue() bool { return c.asked.Load() && !c.said.Load() }

// Closed is to be called when the connection is closed.
func (c *Conn) Closed() { c.set.remove(c) }
