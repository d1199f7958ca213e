package main

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

const (
	maxLine   = 4 << 10
	maxUnread = 1 << 20 // bytes that wait for a client that doesn't read
)

// client is one connection. What the hub's lock guards is told by its state.
type client struct {
	conn net.Conn
	hub  *hub
	wake *sync.Cond // of the writer, with the hub's lock
	gone bool
	clientState
}

// clientState moves with the connection.
type clientState struct {
	Nick, Room string
	In         []byte // the beginning of a line
	Out        []byte // what is not written yet
}

func (h *hub) newClient(conn net.Conn) *client {
	return &client{conn: conn, hub: h, wake: sync.NewCond(&h.mu), clientState: clientState{Nick: conn.RemoteAddr().String(), Room: "lobby"}}
}

func (c *client) restore(state []byte) error { return json.Unmarshal(state, &c.clientState) }

// state is what restore takes; the hub holds, or the client has left it.
func (c *client) state() []byte {
	text, err := json.Marshal(c.clientState)
	if err != nil {
		panic(err) // strings and bytes only
	}
	return text
}

// read ends when the client does, or when the hub holds.
func (c *client) read() {
	for buf := make([]byte, 4096); ; {
		n, err := c.conn.Read(buf)
		if !c.hub.heard(c, buf[:n]) {
			c.hub.remove(c)
			return
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err != nil {
			c.hub.remove(c)
			return
		}
	}
}

// sayLocked has a line written. It returns false for a client that doesn't read.
func (c *client) sayLocked(line string) bool {
	c.Out = append(append(c.Out, line...), '\n')
	c.wake.Signal()
	return len(c.Out) <= maxUnread
}

// write ends as read does. What it has not written stays in Out.
func (c *client) write() {
	for {
		c.hub.mu.Lock()
		for len(c.Out) == 0 && !c.gone && c.hub.holds == 0 {
			c.wake.Wait()
		}
		if c.gone || c.hub.holds > 0 {
			c.hub.mu.Unlock()
			return
		}
		out := c.Out
		c.Out = nil
		c.hub.mu.Unlock()

		n, err := c.conn.Write(out)
		c.hub.mu.Lock()
		c.Out = append(out[n:len(out):len(out)], c.Out...)
		c.hub.mu.Unlock()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err != nil {
			c.hub.remove(c)
			return
		}
	}
}

// goodbye ends a client that can't go to a successor.
func (c *client) goodbye() {
	c.conn.SetDeadline(time.Now().Add(time.Second))
	c.conn.Write(append(c.Out, "* the server stops\n"...))
	c.conn.Close()
}
