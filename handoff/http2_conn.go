package handoff

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
)

const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// goAwayFirst is a GOAWAY frame of NO_ERROR that refuses no request: it names the
// highest number that a stream can have (RFC 9113, 6.8).
var goAwayFirst = []byte{0, 0, 8, http2GoAwayType, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0}

const http2GoAwayType = 0x7

// http2Conn is a connection on which net/http speaks HTTP/2, and on which a frame can
// be put between those that net/http writes.
type http2Conn struct {
	net.Conn
	set     *goAway
	preface int // bytes of the client's that are to be read still

	mu      sync.Mutex // held during a write
	frames  http2Frames
	leaving bool
	told    bool // leaving was said, or something stronger
}

// http2TLSConn is one by TLS, whose state net/http looks at.
type http2TLSConn struct {
	http2Conn
	tls *tls.Conn
}

func (c *http2TLSConn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// original is what the server's hooks know.
func (c *http2Conn) original() net.Conn { return c.Conn }

// Read is called by one goroutine of net/http, which expects what follows the
// preface.
func (c *http2Conn) Read(p []byte) (int, error) {
	if c.preface > 0 {
		got := make([]byte, c.preface)
		if _, err := io.ReadFull(c.Conn, got); err != nil {
			return 0, err
		}
		if string(got) != http2Preface {
			return 0, errors.New("handoff: the client's HTTP/2 preface is wrong")
		}
		c.preface = 0
	}
	return c.Conn.Read(p)
}

func (c *http2Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	end := c.frames.next(p) // of the last frame that ends in p
	if !c.leaving || c.told || c.frames.goAway || end == 0 {
		return c.Conn.Write(p)
	}
	c.told = true
	n, err := c.Conn.Write(p[:end])
	if err != nil {
		return n, err
	}
	if _, err := c.Conn.Write(goAwayFirst); err != nil {
		return n, err
	}
	if end == len(p) {
		return n, nil
	}
	m, err := c.Conn.Write(p[end:])
	return n + m, err
}

// leave asks the client to go, now or after the frame that is being written.
func (c *http2Conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = true
	if !c.told && !c.frames.goAway && c.frames.between() {
		c.told = true
		_, _ = c.Conn.Write(goAwayFirst) // net/http's next write or read will fail as well
	}
}

func (c *http2Conn) Close() error {
	c.set.remove(c)
	return c.Conn.Close()
}

// http2Frames follows a stream of frames.
type http2Frames struct {
	header bytes.Buffer // of the frame that is next, as far as it has come
	rest   int          // of the payload that is next
	any    bool         // a frame has ended: a connection begins with SETTINGS
	goAway bool         // there was a GOAWAY
}

// between tells whether another frame may come in here.
func (f *http2Frames) between() bool { return f.any && f.rest == 0 && f.header.Len() == 0 }

// next goes on by p. It returns where in p the last frame ends that ends in p; 0
// if none does.
func (f *http2Frames) next(p []byte) (end int) {
	const headerLen = 9 // RFC 9113, 4.1: length (3), type, flags, stream (4)
	for at := 0; at < len(p); {
		if f.rest == 0 {
			n := min(headerLen-f.header.Len(), len(p)-at)
			f.header.Write(p[at : at+n])
			if at += n; f.header.Len() < headerLen {
				return end
			}
			h := f.header.Bytes()
			f.rest = int(binary.BigEndian.Uint32(append([]byte{0}, h[:3]...)))
			f.goAway = f.goAway || h[3] == http2GoAwayType
			f.header.Reset()
		}
		n := min(f.rest, len(p)-at)
		at += n
		if f.rest -= n; f.rest == 0 {
			f.any, end = true, at
		}
	}
	return end
}
