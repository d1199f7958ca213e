package load

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// http2Client speaks HTTP/2, one request at a time, on a connection of its own.
type http2Client struct {
	cfg *Config
	n   *tally

	head   http2Head
	health *health // where that is what is asked

	conn *http2Conn
	used bool         // a request was answered on conn
	came bytes.Buffer // an answer's body, as it comes
	got  bytes.Buffer // and as it was read
}

func newHTTP2(cfg *Config, n *tally) *http2Client {
	c := &http2Client{cfg: cfg, n: n}
	c.head = newHTTP2Head(&cfg.Target)
	if cfg.Target.Proto == GRPCHealth {
		c.health = newHealth(cfg.Target.Path)
	}
	return c
}

func (c *http2Client) close() {
	if c.conn != nil {
		c.conn.close()
		c.conn, c.used = nil, false
	}
}

func (c *http2Client) do(ctx context.Context, body []byte) answer {
	if c.conn != nil && !c.conn.usable() && c.used {
		c.noteEnd()
		c.close()
	}
	var late time.Duration
	if c.conn == nil {
		if err := c.open(ctx); err != nil {
			return notConnected(err)
		}
		late = c.conn.link.paused
	}
	a := c.exchange(ctx, body)
	a.paused += late
	a.kept = c.used
	switch {
	case c.cfg.Shape.Close:
		c.close()
	case a.kind == OK, a.kind == Status:
		c.used = true
	case a.kind == Retryable && c.conn.usable():
		c.used = true // one stream was refused; the connection is well
	case a.kind == Retryable:
		c.noteEnd()
		c.close()
	default:
		c.close()
	}
	return a
}

// noteEnd counts how the server ended a connection that can take no more
// requests: it said so, or it just closed.
func (c *http2Client) noteEnd() {
	if c.conn.wasToldToGo() {
		c.n.reconnects.Add(1)
	} else {
		c.n.closedIdle.Add(1)
	}
}

func (c *http2Client) open(ctx context.Context) error {
	l, err := dial(ctx, c.cfg)
	if err != nil {
		return err
	}
	c.n.connections.Add(1)
	c.conn = newHTTP2Conn(l, c.cfg.Timeout)
	return nil
}

// exchange sends one request and reads its answer.
func (c *http2Client) exchange(ctx context.Context, body []byte) answer {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout+c.cfg.Shape.pauses())
	defer cancel()
	switch {
	case c.health != nil:
		body = c.health.question
	case !c.cfg.Target.hasBody():
		body = nil
	}
	s := newHTTP2Stream(&c.cfg.Target, len(body), &c.came)
	err := c.conn.request(ctx, s, c.head, body, c.cfg.Shape.Pause)
	if res := s.response(err); res != nil {
		return c.judge(s, res, body, err)
	}
	a := failed(http2Kind(err, false), Sent, err)
	if len(body) > 0 && !s.sent {
		a.stage = Sending
	}
	a.paused = s.paused
	return a
}

// judge looks at an answer of which something came; err is why not all of it did.
func (c *http2Client) judge(s *http2Stream, res *http.Response, body []byte, err error) answer {
	var a answer
	if c.health != nil {
		a = c.health.judge(c.cfg, res)
	} else {
		a = judge(c.cfg, res, body, &c.got)
	}
	if err != nil && errors.Is(a.err, err) {
		a.kind = http2Kind(err, true)
	}
	a.paused = s.paused
	return a
}

// http2Kind sorts an error of a request. begun: some of the answer had come.
func http2Kind(err error, begun bool) Kind {
	var refused refusedError
	var reset resetError
	var netErr *net.OpError
	switch {
	case errors.As(err, &refused):
		return Retryable
	case errors.As(err, &reset):
		return resetKind(begun)
	}
	kind := brokenKind(err, begun)
	if kind == Mismatch && errors.As(err, &netErr) {
		return resetKind(begun)
	}
	return kind
}

func resetKind(begun bool) Kind {
	if begun {
		return Torn
	}
	return Reset
}
