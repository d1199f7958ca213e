package load

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http2"
)

// http2Client speaks HTTP/2, one request at a time, through one
// http2.ClientConn. Requests are sent again by http2.Transport alone, which is
// only used to make that.
type http2Client struct {
	cfg *Config
	n   *tally
	t   http2.Transport
	url url.URL

	method string
	header http.Header
	health *health // where that is what is asked

	link *link
	conn *http2.ClientConn
	used bool // a request was answered on conn
	got  bytes.Buffer
}

func newHTTP2(cfg *Config, n *tally) *http2Client {
	c := &http2Client{cfg: cfg, n: n}
	c.t = http2.Transport{AllowHTTP: true, DisableCompression: true}
	c.url = url.URL{Scheme: "http", Host: cfg.Target.host()}
	c.url.Path, c.url.RawQuery, _ = strings.Cut(cfg.Target.Path, "?")
	if cfg.Target.TLS != nil {
		c.url.Scheme = "https"
	}
	c.method = cfg.Target.Method
	c.header = http.Header{"User-Agent": {"handoff-load"}}
	maps.Copy(c.header, cfg.Target.Header)
	switch {
	case cfg.Target.Proto == GRPCHealth:
		c.health = newHealth(cfg.Target.Path)
		c.method, c.url.Path, c.url.RawQuery = http.MethodPost, healthPath, ""
		c.header.Set("Content-Type", "application/grpc")
		c.header.Set("TE", "trailers")
	case cfg.Target.hasBody():
		c.header.Set("Content-Type", "application/octet-stream")
	}
	return c
}

func (c *http2Client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.link.Close()
		c.link, c.conn, c.used = nil, nil, false
	}
}

func (c *http2Client) do(ctx context.Context, body []byte) answer {
	if c.conn != nil && !c.conn.CanTakeNewRequest() && c.used {
		c.noteEnd()
		c.close()
	}
	var late time.Duration
	if c.conn == nil {
		if err := c.open(ctx); err != nil {
			return notConnected(err)
		}
		late = c.link.paused
	}
	a := c.exchange(ctx, body)
	a.paused += late
	a.kept = c.used
	switch {
	case c.cfg.Shape.Close:
		c.close()
	case a.kind == OK, a.kind == Status:
		c.used = true
	case a.kind == Retryable && c.conn.CanTakeNewRequest():
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
	if c.conn.State().Closing {
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
	conn, err := c.t.NewClientConn(l)
	if err != nil {
		l.Close()
		return err
	}
	c.n.connections.Add(1)
	c.link, c.conn = l, conn
	return nil
}

func (c *http2Client) exchange(ctx context.Context, body []byte) answer {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout+c.cfg.Shape.pauses())
	defer cancel()
	if c.health != nil {
		body = c.health.question
	}
	out := newBody(ctx, body, c.cfg.Shape.Pause)
	u := c.url
	req := (&http.Request{Method: c.method, URL: &u, Header: c.header}).WithContext(ctx)
	if c.health != nil || c.cfg.Target.hasBody() {
		req.Body = out // and no GetBody: nobody could send it again
		req.ContentLength = int64(len(body))
	}

	res, err := c.conn.RoundTrip(req)
	if err != nil {
		a := failed(http2Kind(err, false), Sent, err)
		if req.Body != nil && !out.wasRead() {
			a.stage = Sending
		}
		a.paused = out.pausedFor()
		return a
	}
	var a answer
	if c.health != nil {
		a = c.health.judge(c.cfg, res)
	} else {
		a = judge(c.cfg, res, body, &c.got)
	}
	res.Body.Close()
	if a.err != nil && a.kind != Status && a.kind != Mismatch {
		a.kind = http2Kind(a.err, true)
	}
	a.paused = out.pausedFor()
	return a
}

// http2Kind sorts an error of a request. begun: some of the answer had come.
//
// The two cases in which http2.Transport would send a request again, because
// the server can't have looked at it, are told by errors that the package
// doesn't export; their texts are pinned by tests.
func http2Kind(err error, begun bool) Kind {
	var stream http2.StreamError
	var away http2.GoAwayError
	var conn http2.ConnectionError
	var netErr *net.OpError
	text := err.Error()
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case errors.As(err, &stream):
		if stream.Code == http2.ErrCodeRefusedStream {
			return Retryable
		}
		if begun {
			return Torn
		}
		return Reset
	case !begun && (strings.Contains(text, "graceful shutdown GOAWAY") ||
		strings.Contains(text, "received GOAWAY from server") ||
		strings.Contains(text, "client conn not usable")):
		return Retryable
	case errors.As(err, &away):
		// Closed with this request among those that it said it would answer.
		return brokenKind(io.EOF, begun)
	case strings.Contains(text, "client conn could not be established"),
		strings.Contains(text, "client conn is closed"):
		return EOF
	case errors.As(err, &conn):
		return Mismatch
	}
	kind := brokenKind(err, begun)
	if kind == Mismatch && errors.As(err, &netErr) {
		if begun {
			return Torn
		}
		return Reset
	}
	return kind
}
