package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"
)

// http1 speaks HTTP/1.1 on a connection of its own.
type http1 struct {
	cfg *Config
	n   *tally

	conn *link
	end  ending // what conn's reads came to
	in   *bufio.Reader
	out  []byte // a request, built in place
	head []byte // its header up to the length
	got  bytes.Buffer
	used bool // a request was answered on conn

	// asked is the request that answers belong to; its method is what tells
	// http.ReadResponse whether there is a body.
	asked http.Request
}

func newHTTP1(cfg *Config, n *tally) *http1 {
	c := &http1{cfg: cfg, n: n, in: bufio.NewReader(nil), asked: http.Request{Method: cfg.Target.Method}}
	head := bytes.NewBuffer(nil)
	head.WriteString(cfg.Target.Method + " " + cfg.Target.Path + " HTTP/1.1\r\nHost: " + cfg.Target.host() +
		"\r\nUser-Agent: handoff-load\r\n")
	if cfg.Shape.Close {
		head.WriteString("Connection: close\r\n")
	}
	cfg.Target.Header.Write(head)
	if cfg.Target.hasBody() {
		head.WriteString("Content-Type: application/octet-stream\r\nContent-Length: ")
	}
	c.head = head.Bytes()
	return c
}

func (c *http1) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn, c.used = nil, false
	}
}

func (c *http1) do(ctx context.Context, body []byte) answer {
	if c.conn != nil && c.cfg.Peek && c.ended() != nil {
		c.n.closedIdle.Add(1)
		c.close()
	}
	var late time.Duration
	if c.conn == nil {
		l, err := dial(ctx, c.cfg)
		if err != nil {
			return notConnected(err)
		}
		c.n.connections.Add(1)
		c.conn, late = l, l.paused
		c.end = ending{Reader: l, left: noLimit}
		c.in.Reset(&c.end)
	}
	a, keep := c.exchange(ctx, body)
	a.paused += late
	a.kept, c.used = c.used, true
	switch {
	case c.cfg.Shape.Close, a.kind != OK && a.kind != Status:
		c.close()
	case !keep:
		c.n.reconnects.Add(1)
		c.close()
	}
	return a
}

// ended says how the server has ended the connection, if it has, without any
// byte of an answer.
func (c *http1) ended() error {
	c.conn.peek.now = true
	_, err := c.in.Peek(1)
	c.conn.peek.now = false
	// Bytes that nobody asked for leave it open: they will be taken for the
	// next answer, and found out.
	if err == error(errSilent) {
		return nil
	}
	return err
}

// sleep pauses within a request. Where Config.Peek is set, the error is how
// the server ended the connection meanwhile.
func (c *http1) sleep(ctx context.Context, d time.Duration) (paused time.Duration, err error) {
	paused = sleep(ctx, d)
	if c.cfg.Peek {
		err = c.ended()
	}
	return paused, err
}

// exchange writes one request and reads its answer. keep: the server keeps the
// connection too.
func (c *http1) exchange(ctx context.Context, body []byte) (a answer, keep bool) {
	c.conn.SetDeadline(time.Now().Add(c.cfg.Timeout + c.cfg.Shape.pauses()))
	paused, err := c.write(ctx, body)
	if err != nil {
		// The server may have answered before the body's end, and closed.
		if res, readErr := c.read(); readErr == nil {
			a = judge(c.cfg, res, body, &c.got)
		}
		if a.kind == OK {
			a = failed(brokenKind(err, false), Sending, err)
		}
		a.paused = paused
		return a, false
	}
	if _, err := c.in.Peek(1); err != nil {
		a = failed(brokenKind(err, false), Sent, err)
	} else if res, err := c.read(); err != nil {
		if c.end.err != nil {
			// It is malformed because there is no more of it.
			err = c.end.err
		}
		a = failed(brokenKind(err, true), Answering, err)
	} else {
		a = judge(c.cfg, res, body, &c.got)
		// An answer that wasn't read to its end leaves a connection that is
		// of no more use.
		keep = !res.Close && c.in.Buffered() == 0 && c.got.Len() < len(body)+maxSurplus
	}
	if a.kind == OK && c.in.Buffered() > 0 {
		a.kind, a.err = Mismatch, errSurplus
	}
	a.paused = paused
	return a, keep
}

func (c *http1) write(ctx context.Context, body []byte) (paused time.Duration, err error) {
	c.out = append(c.out[:0], c.head...)
	if c.cfg.Target.hasBody() {
		c.out = strconv.AppendInt(c.out, int64(len(body)), 10)
		c.out = append(c.out, "\r\n"...)
	} else {
		body = nil
	}
	c.out = append(c.out, "\r\n"...)
	if pause := c.cfg.Shape.HeadPause; pause > 0 {
		// After the Host, within a name.
		cut := bytes.Index(c.out, []byte("User-Agent")) + len("User")
		if _, err = c.conn.Write(c.out[:cut]); err != nil {
			return 0, err
		}
		c.out = append(c.out[:0], c.out[cut:]...)
		if paused, err = c.sleep(ctx, pause); err != nil {
			return paused, err
		}
	}
	pause := c.cfg.Shape.Pause
	if pause == 0 {
		c.out = append(c.out, body...)
		_, err = c.conn.Write(c.out)
		return paused, err
	}
	half := len(body) / 2
	c.out = append(c.out, body[:half]...)
	if _, err = c.conn.Write(c.out); err != nil {
		return paused, err
	}
	slept, err := c.sleep(ctx, pause)
	if err == nil {
		_, err = c.conn.Write(body[half:])
	}
	return paused + slept, err
}

// read reads an answer's header, past any 1xx.
func (c *http1) read() (*http.Response, error) {
	c.end.limit(maxHeader)
	defer c.end.limit(noLimit)
	for {
		res, err := http.ReadResponse(c.in, &c.asked)
		if err != nil || res.StatusCode < 100 || res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols {
			return res, err
		}
	}
}

const (
	// maxHeader bounds what is read for one answer's header, those of the 1xx before it
	// among it. net/http bounds trailers by the reader's buffer.
	maxHeader = 256 << 10
	noLimit   = math.MaxInt64
)

var errHeader = errors.New("the header of an answer has more than 256 KiB")

// ending is a connection's reader that remembers how it ended, and ends itself where more
// comes than it may read.
type ending struct {
	io.Reader
	left int64
	err  error
}

// limit has it read so many bytes more.
func (e *ending) limit(bytes int64) { e.left = bytes }

func (e *ending) Read(p []byte) (int, error) {
	if e.left <= 0 {
		e.err = errHeader
		return 0, errHeader
	}
	n, err := e.Reader.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	e.err = err
	return n, err
}
