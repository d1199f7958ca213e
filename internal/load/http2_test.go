package load

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// frames is the server's side of an HTTP/2 connection, by hand.
type frames struct {
	*http2.Framer
	c net.Conn
}

func newFrames(c net.Conn) *frames {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c, preface); err != nil {
		return nil
	}
	f := &frames{Framer: http2.NewFramer(c, c), c: c}
	f.WriteSettings()
	return f
}

// request reads one request and gives its stream and body.
func (f *frames) request() (stream uint32, body []byte, ok bool) {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return 0, nil, false
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				f.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				f.WritePing(true, frame.Data)
			}
		case *http2.DataFrame:
			body = append(body, frame.Data()...)
			if frame.StreamEnded() {
				return frame.StreamID, body, true
			}
		}
	}
}

func (f *frames) header(stream uint32) {
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: okHeader, EndHeaders: true})
}

func (f *frames) answer(stream uint32, body []byte) {
	f.header(stream)
	f.WriteData(stream, true, body)
}

// okHeader is ":status 200", entry 8 of HPACK's static table.
var okHeader = []byte{0x80 | 8}

func byFrames(handle func(f *frames, stream uint32, body []byte)) func(net.Conn) {
	return func(c net.Conn) {
		f := newFrames(c)
		if f == nil {
			return
		}
		for {
			stream, body, ok := f.request()
			if !ok {
				return
			}
			handle(f, stream, body)
		}
	}
}

// leave says GOAWAY and closes once the client has.
func leave(f *frames, last uint32) {
	f.WriteGoAway(last, http2.ErrCodeNo, nil)
	io.Copy(io.Discard, f.c)
}

func TestEachHTTP2MisbehaviourCountsUnderItsKind(t *testing.T) {
	for _, test := range []struct {
		name   string
		server func(net.Conn)
		want   Kind
	}{
		{"GOAWAY before the request's stream", byFrames(func(f *frames, _ uint32, _ []byte) { leave(f, 0) }), Retryable},
		{"GOAWAY with an error before the request's stream", byFrames(func(f *frames, _ uint32, _ []byte) {
			f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, nil)
			io.Copy(io.Discard, f.c)
		}), Retryable},
		{"a refused stream", byFrames(func(f *frames, s uint32, _ []byte) { f.WriteRSTStream(s, http2.ErrCodeRefusedStream) }), Retryable},
		{"GOAWAY that promises an answer, then a close", byFrames(func(f *frames, s uint32, _ []byte) {
			f.WriteGoAway(s, http2.ErrCodeNo, nil)
			f.c.Close()
		}), EOF},
		{"a close without GOAWAY", byFrames(func(f *frames, _ uint32, _ []byte) { f.c.Close() }), EOF},
		{"a reset connection", byFrames(func(f *frames, _ uint32, _ []byte) {
			f.c.(*net.TCPConn).SetLinger(0)
			f.c.Close()
		}), Reset},
		{"a reset stream", byFrames(func(f *frames, s uint32, _ []byte) { f.WriteRSTStream(s, http2.ErrCodeInternal) }), Reset},
		{"a close within the body", byFrames(func(f *frames, s uint32, b []byte) {
			f.header(s)
			f.WriteData(s, false, b[:9])
			f.c.Close()
		}), Truncated},
		{"silence", byFrames(func(*frames, uint32, []byte) {}), Timeout},
		{"another body", byFrames(func(f *frames, s uint32, b []byte) { f.answer(s, b[1:]) }), Mismatch},
		{"a close before the first request", func(net.Conn) {}, EOF},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, shape := range []Shape{NewConn(), KeepAlive(), SlowPost(time.Millisecond)} {
				timeout := 5 * time.Second
				if test.want == Timeout {
					timeout = 100 * time.Millisecond
				}
				res := runUntil(t, Config{Target: Target{Addr: fake(t, test.server), Proto: H2C}, Shape: shape, Timeout: timeout},
					func(c Counters) bool { return c.Failures[test.want] > 2 || test.want == Retryable && c.Retryable > 2 })
				// While the client writes its own frames, which of its calls
				// learns of a connection's end, and how, is open.
				lost := test.want != Retryable && res.Lost() == res.Requests
				if res.Failures[test.want]+res.Retryable != res.Requests && !lost {
					t.Errorf("%s: %+v, want only %v: %v", shape.Name, res.Counters, test.want, res.Errors)
				}
				if test.want == Retryable && res.Failed > 0 {
					t.Errorf("%s: retryable counts as a failure: %+v", shape.Name, res.Counters)
				}
			}
		})
	}
}

func TestGOAWAYAfterAnAnswerIsAReconnectAndNoFailure(t *testing.T) {
	t.Parallel()
	addr := fake(t, byFrames(func(f *frames, s uint32, b []byte) {
		f.answer(s, b)
		leave(f, s)
	}))
	// A worker may send before it has seen GOAWAY; that request is retryable.
	res := runUntil(t, Config{Target: Target{Addr: addr, Proto: H2C}, Workers: 2}, func(c Counters) bool { return c.OK > 50 })
	if res.Failed > 0 || res.Reconnects < res.OK-2 {
		t.Errorf("%+v, want no failure and a reconnect for each answer: %v", res.Counters, res.Errors)
	}
}

func TestAnIdleHTTP2CloseIsNoFailure(t *testing.T) {
	t.Parallel()
	cfg, err := Config{Target: Target{Proto: H2C, Addr: fake(t, byFrames(func(f *frames, s uint32, b []byte) {
		f.answer(s, b)
		f.c.Close()
	}))}}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	var n tally
	c := newHTTP2(&cfg, &n)
	defer c.close()
	if a := c.do(t.Context(), []byte("first")); a.kind != OK {
		t.Fatalf("first: %v", a.err)
	}
	for c.conn.usable() { // until the client has read the end
		if sleep(t.Context(), time.Millisecond); t.Context().Err() != nil {
			t.Fatal("the end of the connection was never seen")
		}
	}
	if a := c.do(t.Context(), []byte("second")); a.kind != OK || n.closedIdle.Load() != 1 || n.reconnects.Load() != 0 {
		t.Errorf("second: %v (%v), %d closed idle, %d reconnects; want ok, 1, 0", a.kind, a.err, n.closedIdle.Load(), n.reconnects.Load())
	}
}
