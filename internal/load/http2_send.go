package load

import (
	"context"
	"time"

	"golang.org/x/net/http2"
)

// send writes a request, or as much of it as the server has to see before its
// answer is over.
func (c *http2Conn) send(ctx context.Context, s *http2Stream, head http2Head, body []byte, pause time.Duration) error {
	if err := c.sendHead(ctx, s, head, len(body)); err != nil {
		return err
	}
	if pause > 0 {
		half := len(body) / 2
		if err := c.sendBody(ctx, s, body[:half], false); err != nil {
			return err
		}
		body = body[half:]
		s.paused = c.pause(ctx, s, pause)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return c.sendBody(ctx, s, body, true)
}

// pause waits for d, or until the stream is over.
func (c *http2Conn) pause(ctx context.Context, s *http2Stream, d time.Duration) time.Duration {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	c.until(ctx, func() bool { return s.over })
	return time.Since(began)
}

// sendHead writes the header, without a flush where a body follows.
func (c *http2Conn) sendHead(ctx context.Context, s *http2Stream, head http2Head, length int) error {
	c.mu.Lock()
	size := c.frame
	c.mu.Unlock()
	c.writing.Lock()
	defer c.writing.Unlock()
	c.limitWrites(ctx)
	c.block.Reset()
	if err := head.encode(c.enc, length); err != nil {
		return err
	}
	err := c.out.WriteHeaders(http2.HeadersFrameParam{
		StreamID: s.id, EndStream: length == 0,
		BlockFragment: c.block.Next(size), EndHeaders: c.block.Len() == 0,
	})
	for c.block.Len() > 0 && err == nil {
		fragment := c.block.Next(size)
		err = c.out.WriteContinuation(s.id, c.block.Len() == 0, fragment)
	}
	if err != nil || length > 0 {
		return err
	}
	s.sent = true
	return c.buf.Flush()
}

// sendBody writes a part of a body as the server's windows let it. last: it ends
// the request.
func (c *http2Conn) sendBody(ctx context.Context, s *http2Stream, p []byte, last bool) error {
	for len(p) > 0 {
		n, over := c.claim(s, len(p))
		if over {
			return nil
		}
		if n == 0 {
			if err := c.awaitRoom(ctx, s); err != nil {
				return err
			}
			continue
		}
		if err := c.sendData(ctx, s, p[:n], last && n == len(p)); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// claim takes up to n bytes of the windows.
func (c *http2Conn) claim(s *http2Stream, n int) (claimed int, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := max(0, min(int64(n), int64(c.frame), c.room, s.room))
	c.room -= got
	s.room -= got
	return int(got), s.over
}

// awaitRoom waits until the windows have some, or the stream is over.
func (c *http2Conn) awaitRoom(ctx context.Context, s *http2Stream) error {
	// The server can't make room for what it hasn't seen.
	if err := c.control(func() error { return nil }); err != nil {
		return err
	}
	return c.until(ctx, func() bool { return s.over || c.room > 0 && s.room > 0 })
}

func (c *http2Conn) sendData(ctx context.Context, s *http2Stream, p []byte, end bool) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.limitWrites(ctx)
	if err := c.out.WriteData(s.id, end, p); err != nil {
		return err
	}
	s.sent = s.sent || end
	return c.buf.Flush()
}

// limitWrites has writes fail when ctx is over.
func (c *http2Conn) limitWrites(ctx context.Context) {
	if d, ok := ctx.Deadline(); ok {
		c.link.SetWriteDeadline(d)
	}
}
