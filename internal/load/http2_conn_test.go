package load

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// hpackOf encodes pairs without the table.
func hpackOf(pairs ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	e.SetMaxDynamicTableSize(0)
	for i := 0; i < len(pairs); i += 2 {
		e.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1], Sensitive: true})
	}
	return b.Bytes()
}

func (f *frames) head(stream uint32, end bool, pairs ...string) {
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: hpackOf(pairs...), EndHeaders: true, EndStream: end})
}

func TestEachRightHTTP2AnswerIsTaken(t *testing.T) {
	for name, handle := range map[string]func(f *frames, s uint32, b []byte){
		"padded": func(f *frames, s uint32, b []byte) {
			f.header(s)
			f.WriteDataPadded(s, true, b, make([]byte, 200))
		},
		"in pieces, with an empty end": func(f *frames, s uint32, b []byte) {
			f.header(s)
			for i := range b {
				f.WriteData(s, false, b[i:i+1])
			}
			f.WriteData(s, true, nil)
		},
		"after others": func(f *frames, s uint32, b []byte) {
			f.head(s, false, ":status", "103", "link", "</style.css>")
			f.answer(s, b)
		},
		"with a trailer": func(f *frames, s uint32, b []byte) {
			f.header(s)
			f.WriteData(s, false, b)
			f.head(s, true, "a", "b")
		},
		"with a header in many frames": func(f *frames, s uint32, b []byte) {
			block := hpackOf(":status", "200", "x-pid", "7")
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: s, BlockFragment: block[:3]})
			for i := 3; i < len(block); i++ {
				f.WriteContinuation(s, i == len(block)-1, block[i:i+1])
			}
			f.WriteData(s, true, b)
		},
		"among frames of no concern": func(f *frames, s uint32, b []byte) {
			f.header(s)
			f.WritePing(false, [8]byte{1})
			f.WriteRawFrame(0xfe, 0, s, []byte("unknown"))
			f.WriteWindowUpdate(0, 1)
			f.WriteRSTStream(s+1000, http2.ErrCodeInternal)
			f.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize}, http2.Setting{ID: 0xf000, Val: 1})
			f.WriteData(s, true, b)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res := runUntil(t, Config{Target: Target{Addr: fake(t, byFrames(handle)), Proto: H2C}}, func(c Counters) bool { return c.Requests >= 20 })
			if res.OK != res.Requests || res.Connections != 1 {
				t.Errorf("%+v, want all ok on one connection: %v", res.Counters, res.Errors)
			}
		})
	}
}

func TestEachWrongHTTP2AnswerIsAFailure(t *testing.T) {
	for name, test := range map[string]struct {
		server func(net.Conn)
		want   Kind
	}{
		"HTTP/1.1":    {func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n"); io.Copy(io.Discard, c) }, Mismatch},
		"no SETTINGS": {func(c net.Conn) { http2.NewFramer(c, c).WritePing(false, [8]byte{}); io.Copy(io.Discard, c) }, Mismatch},
		"a header without an end": {byFrames(func(f *frames, s uint32, _ []byte) {
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: s, BlockFragment: okHeader})
			for field := hpackOf("x-more", strings.Repeat("x", 10_000)); f.WriteContinuation(s, false, field) == nil; {
			}
		}), Mismatch},
		"1xx without an end": {byFrames(func(f *frames, s uint32, _ []byte) {
			head := http2.HeadersFrameParam{StreamID: s, BlockFragment: hpackOf(":status", "103", "link", "</a>"), EndHeaders: true}
			for f.Framer.WriteHeaders(head) == nil {
			}
		}), Mismatch},
		"no status":               {byFrames(func(f *frames, s uint32, _ []byte) { f.head(s, true, "a", "b") }), Mismatch},
		"a body without a header": {byFrames(func(f *frames, s uint32, b []byte) { f.WriteData(s, true, b) }), Mismatch},
		"a push": {byFrames(func(f *frames, s uint32, _ []byte) {
			f.WritePushPromise(http2.PushPromiseParam{StreamID: s, PromiseID: 2, BlockFragment: okHeader, EndHeaders: true})
		}), Mismatch},
		"more than was announced": {byFrames(func(f *frames, s uint32, b []byte) {
			f.head(s, false, ":status", "200", "content-length", "9")
			f.WriteData(s, true, b)
		}), Mismatch},
		"less than was announced": {byFrames(func(f *frames, s uint32, b []byte) {
			f.head(s, false, ":status", "200", "content-length", "128")
			f.WriteData(s, true, b[:9])
		}), Truncated},
		"a reset within the answer": {byFrames(func(f *frames, s uint32, b []byte) {
			f.header(s)
			f.WriteData(s, false, b[:9])
			f.WriteRSTStream(s, http2.ErrCodeInternal)
		}), Torn},
		"an answer without an end": {byFrames(func(f *frames, s uint32, b []byte) {
			f.header(s)
			for range 10 {
				f.WriteData(s, false, make([]byte, 10_000))
			}
		}), Mismatch},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res := runUntil(t, Config{Target: Target{Addr: fake(t, test.server), Proto: H2C}}, func(c Counters) bool { return c.Requests >= 5 })
			if res.Failures[test.want] != res.Requests {
				t.Errorf("%+v, want only %v: %v", res.Counters, test.want, res.Errors)
			}
		})
	}
}

// Bodies far beyond each window, both ways, and a header beyond one frame.
func TestLargeHTTP2RequestsKeepToTheWindows(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("long ", 8_000)
	target := goodServer(t, "tcp", H2C, false)
	target.Header = http.Header{"X-Big": {big}, "Connection": {"keep-alive"}, "Host": {"nobody"}}
	for _, size := range []int{1, frameSize, frameSize + 1, defaultWindow, 3_000_000, 12_000_000} {
		res := runUntil(t, Config{Target: target, BodySize: size}, func(c Counters) bool { return c.Requests >= 3 })
		if res.OK != res.Requests || res.Connections != 1 {
			t.Errorf("%d bytes: %+v: %v", size, res.Counters, res.Errors)
		}
	}
}

// The window of a stream may shrink below nothing while it is in use, and a
// server may let no stream be opened for a while (RFC 9113, 6.9.2 and 6.5.2).
func TestTheServersSettingsAreKeptTo(t *testing.T) {
	t.Parallel()
	beyond := make(chan string, 1)
	addr := fake(t, func(c net.Conn) {
		f := newFrames(c)
		f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: frameSize})
		for room := 10; ; {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			d, ok := frame.(*http2.DataFrame)
			if !ok {
				continue
			}
			if d.StreamID == 1 { // may have been sent before the settings came
				if d.StreamEnded() {
					f.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams})
					f.answer(1, bytes.Repeat([]byte("x"), 9))
					sleep(t.Context(), 10*time.Millisecond)
					f.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
					continue
				}
				f.WriteWindowUpdate(1, 100)
				continue
			}
			if room -= len(d.Data()); room < 0 {
				select {
				case beyond <- fmt.Sprintf("%d bytes beyond the window", -room):
				default:
				}
			}
			f.WriteWindowUpdate(d.StreamID, 10)
			room += 10
			if d.StreamEnded() {
				f.header(d.StreamID)
				f.WriteData(d.StreamID, true, bytes.Repeat([]byte("x"), 9))
				room = 10
			}
		}
	})
	res := runUntil(t, Config{Target: Target{Addr: addr, Proto: H2C, Accept: func(int) bool { return true }}},
		func(c Counters) bool { return c.OK >= 5 })
	if res.Failed > 0 || res.Connections != 1 {
		t.Errorf("%+v: %v", res.Counters, res.Errors)
	}
	select {
	case text := <-beyond:
		t.Error(text)
	default:
	}
}

func TestAnHTTP2AnswerBeforeTheBodysEndCountsByItsStatus(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	}))
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	for _, cfg := range []Config{{Shape: SlowPost(10 * time.Millisecond)}, {BodySize: 3_000_000}} {
		cfg.Target = Target{Addr: srv.Listener.Addr().String(), Proto: H2C}
		res := runUntil(t, cfg, func(c Counters) bool { return c.Failed > 2 })
		if res.Failures[Status] != res.Requests {
			t.Errorf("%s: %+v, want only status: %v", cfg.Shape.Name, res.Counters, res.Errors)
		}
	}
}

// While a worker thinks, its connection is read from: PINGs are answered, and a
// GOAWAY is known before the next request.
func TestAnIdleHTTP2ConnectionIsReadFrom(t *testing.T) {
	t.Parallel()
	acked := make(chan struct{}, 1)
	addr := fake(t, byFrames(func(f *frames, s uint32, b []byte) {
		f.answer(s, b)
		f.WritePing(false, [8]byte{'p'})
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if p, ok := frame.(*http2.PingFrame); ok && p.IsAck() {
				break
			}
		}
		acked <- struct{}{}
		// As net/http's server does: first that no more should come, then which
		// is the last that was looked at.
		f.WriteGoAway(1<<31-1, http2.ErrCodeNo, nil)
		leave(f, s)
	}))
	cfg, err := Config{Target: Target{Addr: addr, Proto: H2C}}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	var n tally
	c := newHTTP2(&cfg, &n)
	defer c.close()
	for i := range uint64(3) {
		if a := c.do(t.Context(), []byte("question")); a.kind != OK || n.reconnects.Load() != i || n.connections.Load() != i+1 {
			t.Fatalf("request %d: %v (%v), %d reconnects, %d connections", i, a.kind, a.err, n.reconnects.Load(), n.connections.Load())
		}
		<-acked
		for began := time.Now(); c.conn.usable(); sleep(t.Context(), time.Millisecond) {
			if time.Since(began) > 20*time.Second {
				t.Fatal("GOAWAY was never seen")
			}
		}
	}
}

func TestAnEscapedPathGoesOutAsItIs(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{HTTP1, H2C} {
		const path = "/a%20b%2Fc?d=%25&e"
		got := make(chan string, 1)
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case got <- r.RequestURI:
			default:
			}
		}))
		srv.Config.Protocols = new(http.Protocols)
		srv.Config.Protocols.SetHTTP1(true)
		srv.Config.Protocols.SetUnencryptedHTTP2(true)
		srv.Start()
		t.Cleanup(srv.Close)
		cfg := Config{Target: Target{Addr: srv.Listener.Addr().String(), Proto: proto, Path: path, Method: http.MethodGet, Accept: func(int) bool { return true }}}
		if _, err := Probe(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		if uri := <-got; uri != path {
			t.Errorf("%s: the server got %q, want %q", proto, uri, path)
		}
	}
}

// All streams share the connection's window, and no frame is longer than the
// server takes (RFC 9113, 6.9.1 and 4.2).
func TestTheConnectionsWindowAndTheLongestFrameAreKeptTo(t *testing.T) {
	t.Parallel()
	wrong := make(chan string, 1)
	addr := fake(t, func(c net.Conn) {
		f := newFrames(c)
		f.SetMaxReadFrameSize(frameSize)
		f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
		for room := defaultWindow; ; {
			frame, err := f.ReadFrame()
			if err == nil && room < 0 {
				err = fmt.Errorf("%d bytes beyond the connection's window", -room)
			}
			if err != nil {
				select {
				case wrong <- err.Error():
				default:
				}
				return
			}
			d, ok := frame.(*http2.DataFrame)
			if !ok {
				continue
			}
			if room -= len(d.Data()); room == 0 {
				f.WriteWindowUpdate(0, 50_000)
				room = 50_000
			}
			f.WriteWindowUpdate(d.StreamID, uint32(len(d.Data())))
			if d.StreamEnded() {
				f.head(d.StreamID, true, ":status", "204")
			}
		}
	})
	cfg := Config{BodySize: 200_000, Target: Target{Addr: addr, Proto: H2C, Accept: func(int) bool { return true }}}
	cfg.Target.Header = http.Header{"X-Big": {strings.Repeat("{~}", 20_000)}}
	res := runUntil(t, cfg, func(c Counters) bool { return c.Requests >= 5 })
	if res.Failed > 0 || res.Connections != 1 {
		t.Errorf("%+v, %q: %v", res.Counters, <-wrong, res.Errors)
	}
}
