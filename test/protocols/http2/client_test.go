//go:build linux

package http2

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A client sends requests over one connection, several at a time, and sends none again.
// It does as RFC 9113, 6.8 says: after a GOAWAY it opens no more streams, and goes
// elsewhere when those that it has opened have ended. So it loses what the server does not
// answer though it was sent before a GOAWAY came.
type client struct {
	framer *http2.Framer
	conn   net.Conn
	next   uint32
	open   map[uint32]*exchange
	window int // of the connection
	last   uint32
	away   []uint32 // what the GOAWAY frames have named
	header bytes.Buffer
	fields *hpack.Encoder
}

// exchange is a request and its answer.
type exchange struct {
	method string
	body   int
	pid    string
	text   strings.Builder
	status string
}

func (e *exchange) err() error {
	if want := fmt.Sprintf("%s %d", e.method, e.body); e.status != "200" || e.text.String() != want {
		return fmt.Errorf("%s: status %s, %q", want, e.status, e.text.String())
	}
	return nil
}

func dial(addr string, config *tls.Config) (*client, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(time.Minute))
	if config != nil {
		conn = tls.Client(conn, config)
	}
	c := &client{conn: conn, next: 1, open: make(map[uint32]*exchange), window: 65535, last: 1<<31 - 1, framer: http2.NewFramer(conn, conn)}
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.fields = hpack.NewEncoder(&c.header)
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		return nil, err
	}
	return c, c.framer.WriteSettings()
}

// send sends a request; its body fits into a stream's first window.
func (c *client) send(method string, body int) error {
	c.header.Reset()
	for _, f := range [][2]string{{":method", method}, {":scheme", "https"}, {":authority", "h"}, {":path", "/"}, {"content-length", strconv.Itoa(body)}} {
		c.fields.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	id := c.next
	c.next += 2
	c.open[id] = &exchange{method: method, body: body}
	if err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.header.Bytes(), EndHeaders: true, EndStream: body == 0}); err != nil {
		return err
	}
	for body > 0 {
		n := min(body, 16384)
		for c.window < n {
			if _, err := c.read(); err != nil {
				return err
			}
		}
		c.window -= n
		body -= n
		if err := c.framer.WriteData(id, body == 0, make([]byte, n)); err != nil {
			return err
		}
	}
	return nil
}

// read reads a frame, and returns an exchange that has ended with it, or nil.
func (c *client) read() (*exchange, error) {
	frame, err := c.framer.ReadFrame()
	if err != nil {
		return nil, err
	}
	id := frame.Header().StreamID
	e, ended := c.open[id], false
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			return nil, c.framer.WriteSettingsAck()
		}
	case *http2.PingFrame:
		return nil, c.framer.WritePing(true, f.Data)
	case *http2.WindowUpdateFrame:
		if id == 0 {
			c.window += int(f.Increment)
		}
	case *http2.GoAwayFrame:
		return nil, c.leave(f)
	case *http2.RSTStreamFrame:
		if f.ErrCode != http2.ErrCodeNo || e != nil {
			return nil, fmt.Errorf("stream %d of %v was reset: %v", id, c.open, f.ErrCode)
		}
	case *http2.MetaHeadersFrame:
		if e == nil {
			return nil, fmt.Errorf("an answer to stream %d", id)
		}
		e.status = f.PseudoValue("status")
		for _, h := range f.RegularFields() {
			if h.Name == "x-pid" {
				e.pid = h.Value
			}
		}
		ended = f.StreamEnded()
	case *http2.DataFrame:
		e.text.Write(f.Data())
		ended = f.StreamEnded()
	}
	if !ended {
		return nil, nil
	}
	delete(c.open, id)
	return e, nil
}

func (c *client) leave(f *http2.GoAwayFrame) error {
	c.away = append(c.away, f.LastStreamID)
	if f.ErrCode != http2.ErrCodeNo || f.LastStreamID > c.last {
		return fmt.Errorf("GOAWAY of %v that names %d after %d", f.ErrCode, f.LastStreamID, c.last)
	}
	c.last = f.LastStreamID
	for id := range c.open {
		if id > c.last {
			return fmt.Errorf("stream %d was open and is not answered: GOAWAY names %v", id, c.away)
		}
	}
	return nil
}

var errStopped = errors.New("stopped")

// run sends requests, several at a time, until it is to go elsewhere (nil), or stopped.
// Every other one has a body. done is told of each.
func (c *client) run(stop <-chan struct{}, atOnce int, done func(*exchange)) error {
	defer c.conn.Close()
	for n, stopped := 0, false; ; {
		select {
		case <-stop:
			stopped = true
		default:
		}
		for len(c.open) < atOnce && len(c.away) == 0 && !stopped {
			var err error
			if n++; n%2 == 0 {
				err = c.send("POST", 60000)
			} else {
				err = c.send("GET", 0)
			}
			if err != nil {
				return c.lost(err)
			}
		}
		switch {
		case len(c.open) > 0:
		case stopped:
			return errStopped
		case len(c.away) > 0:
			return nil
		}
		e, err := c.read()
		if err != nil {
			return c.lost(err)
		}
		if e != nil {
			if err := e.err(); err != nil {
				return err
			}
			done(e)
		}
	}
}

func (c *client) lost(err error) error {
	return fmt.Errorf("%d requests were open: %w", len(c.open), err)
}
