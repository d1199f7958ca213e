package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// The windows of RFC 9113, 5.2, in which a server may send without our leave.
const (
	defaultWindow = 1<<16 - 1 // of each side, until it says otherwise
	streamWindow  = 4 << 20
	connWindow    = 1 << 30
	frameSize     = 16 << 10 // the least that each side takes
)

// http2Conn is a client's connection of HTTP/2, for one request at a time.
//
// It is made of frames because that is what is to be counted: whether the
// server said GOAWAY, and whether it looked at a request. A client that hides
// both and sends again what was refused, as net/http's does, can't tell.
type http2Conn struct {
	link    *link
	timeout time.Duration // of a write that belongs to no request
	ended   chan struct{} // closed when nothing more is read
	wake    chan struct{} // has something when what the requester waits for may be there

	writing sync.Mutex // guards what follows; never taken while mu is held
	buf     *bufio.Writer
	out     *http2.Framer
	enc     *hpack.Encoder
	block   bytes.Buffer // what enc writes to

	mu       sync.Mutex // guards what follows
	next     uint32     // the next stream's number
	now      *http2Stream
	away     bool  // the server said GOAWAY
	err      error // why nothing more is read
	room     int64 // what the server's window lets all streams send
	window   int64 // that of a new stream
	frame    int   // the longest frame that the server takes
	noStream bool  // the server lets no stream be opened for the moment
	owed     int64 // what came, and wasn't given back to our window
}

// newHTTP2Conn begins to read. The preface is sent with the first request.
func newHTTP2Conn(l *link, timeout time.Duration) *http2Conn {
	c := &http2Conn{
		link: l, timeout: timeout, ended: make(chan struct{}), wake: make(chan struct{}, 1),
		next: 1, room: defaultWindow, window: defaultWindow, frame: frameSize,
	}
	c.buf = bufio.NewWriter(l)
	c.out = http2.NewFramer(c.buf, nil)
	c.enc = hpack.NewEncoder(&c.block)
	// These only fill the buffer.
	c.buf.WriteString(http2.ClientPreface)
	c.out.WriteSettings(http2.Setting{ID: http2.SettingEnablePush},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow})
	c.out.WriteWindowUpdate(0, connWindow-defaultWindow)
	go c.read()
	return c
}

// close closes the connection, and returns when nobody reads from it any more.
func (c *http2Conn) close() {
	c.link.Close()
	<-c.ended
}

// usable says whether a request can be sent.
func (c *http2Conn) usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil && !c.away && c.next < 1<<31
}

// wasToldToGo says whether the server has said GOAWAY.
func (c *http2Conn) wasToldToGo() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.away
}

// request sends a request and waits until its stream is over, for which it
// returns the reason, nil for an answer. A pause comes between the halves of the
// body.
func (c *http2Conn) request(ctx context.Context, s *http2Stream, head http2Head, body []byte, pause time.Duration) error {
	err := c.open(ctx, s)
	if err != nil {
		return err
	}
	defer c.forget(s)
	if err = c.send(ctx, s, head, body, pause); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		// The server may have said more than that it has closed.
		if told := c.wait(ctx, s); told == nil || errors.As(told, new(refusedError)) {
			err = told
		}
		return err
	} else if err != nil {
		return err
	}
	if err = c.wait(ctx, s); err == nil && !(s.whole && s.sent) {
		return c.control(func() error { return c.out.WriteRSTStream(s.id, http2.ErrCodeCancel) })
	}
	return err
}

// open makes s the stream of which frames are taken.
func (c *http2Conn) open(ctx context.Context, s *http2Stream) error {
	err := c.until(ctx, func() bool { return !c.noStream || c.err != nil || c.away })
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		return err
	case c.away:
		return refusedError{"the server said GOAWAY before the request was sent"}
	case c.err != nil && c.next > 1:
		return refusedError{"the connection ended before the request was sent: " + c.err.Error()}
	case c.err != nil:
		return c.err
	}
	s.id, s.room = c.next, c.window
	c.next += 2
	c.now = s
	return nil
}

// forget makes s a stream that nobody asks about any more.
func (c *http2Conn) forget(s *http2Stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = nil
	s.end(context.Canceled)
}

// wait waits until s is over.
func (c *http2Conn) wait(ctx context.Context, s *http2Stream) error {
	if err := c.until(ctx, func() bool { return s.over }); err != nil {
		return err
	}
	return s.err
}

// until waits for what is guarded by mu.
func (c *http2Conn) until(ctx context.Context, done func() bool) error {
	for {
		c.mu.Lock()
		is := done()
		c.mu.Unlock()
		if is {
			return nil
		}
		select {
		case <-c.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// changed wakes the requester.
func (c *http2Conn) changed() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// read takes frames until there are no more.
func (c *http2Conn) read() {
	defer close(c.ended)
	in := http2.NewFramer(io.Discard, bufio.NewReader(c.link))
	in.SetMaxReadFrameSize(frameSize)
	in.SetReuseFrames()
	in.MaxHeaderListSize = maxHeader
	in.ReadMetaHeaders = hpack.NewDecoder(4096, nil) // RFC 9113, 6.5.2: the table's size if nobody says another
	f, err := in.ReadFrame()
	if _, ok := f.(*http2.SettingsFrame); err == nil && !ok {
		err = errors.New("the server's first frame isn't SETTINGS")
	}
	for err == nil {
		if err = c.take(f); err == nil {
			f, err = in.ReadFrame()
		}
	}
	c.mu.Lock()
	c.err = err
	if c.now != nil {
		c.now.end(err)
	}
	c.mu.Unlock()
	c.changed()
}
