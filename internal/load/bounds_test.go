package load

import (
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"
)

// endless writes a beginning, and then the same for as long as anybody reads; sent counts.
func endless(beginning, more string, sent *atomic.Int64) func(net.Conn) {
	block := strings.Repeat(more, 1+4096/len(more))
	return once(func(c net.Conn, _ []byte) {
		_, err := io.WriteString(c, beginning)
		for err == nil {
			var n int
			n, err = io.WriteString(c, block)
			sent.Add(int64(n))
		}
	})
}

func TestAnAnswerWithoutAnEndIsGivenUp(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ beginning, more string }{
		"status line":   {"HTTP/1.1 200 ", "x"},
		"header":        {"HTTP/1.1 200 OK\r\n", "X-More: 12345678\r\n"},
		"header's line": {"HTTP/1.1 200 OK\r\nX-More: ", "x"},
		"1xx":           {"", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"},
		"body":          {"HTTP/1.1 200 OK\r\n\r\n", "x"},
		"chunks":        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"},
		"extension":     {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", "x"},
		"trailer":       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-More\r\n\r\n0\r\nX-More: ", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sent atomic.Int64
			cfg, err := Config{Target: Target{Addr: fake(t, endless(test.beginning, test.more, &sent))}, Timeout: time.Minute}.withDefaults()
			if err != nil {
				t.Fatal(err)
			}
			cfg.ids = &identities{}
			var n tally
			for kind, do := range map[string]func() answer{
				"http1": func() answer { c := newHTTP1(&cfg, &n); defer c.close(); return c.do(t.Context(), []byte("first")) },
				"websocket": func() answer {
					c := newWebSocket(&cfg, &n)
					defer c.close()
					return c.do(t.Context(), []byte("first"))
				},
			} {
				began := time.Now()
				if a := do(); a.kind == OK || a.kind == Timeout || time.Since(began) > 50*time.Second {
					t.Errorf("%s: %v (%v) after %v", kind, a.kind, a.err, time.Since(began))
				}
			}
		})
	}
}

func TestALargeHeaderIsTaken(t *testing.T) {
	t.Parallel()
	addr := fake(t, says(func(body []byte) string {
		return strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 100) + reply(body, "X-Large: "+strings.Repeat("x", 100<<10)+"\r\n")
	}))
	cfg, err := Config{Target: Target{Addr: addr}}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	cfg.ids = &identities{}
	var n tally
	c := newHTTP1(&cfg, &n)
	defer c.close()
	if a := c.do(t.Context(), []byte("first")); a.kind != OK {
		t.Errorf("%v (%v)", a.kind, a.err)
	}
}

// A server that pings for ever is not waited for longer than the timeout.
func TestPingsDontKeepAWebSocketWaiting(t *testing.T) {
	t.Parallel()
	if !peekSupported {
		t.Skip("Peek isn't available on this system")
	}
	pinged := make(chan struct{})
	addr := fake(t, webSocketServer(func(s *speaker, _ int, payload []byte) {
		s.frame(opText, true, payload)
		go func() {
			for n := 0; ; n++ {
				if _, err := s.Write([]byte{0x80 | opPing, 0}); err != nil {
					return
				}
				if n == 100 {
					close(pinged)
				}
			}
		}()
		io.Copy(io.Discard, s.in) // here, so that nobody else reads
	}))
	cfg, err := Config{Target: Target{Addr: addr}, Peek: true, Timeout: 200 * time.Millisecond}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	cfg.ids = &identities{}
	var n tally
	c := newWebSocket(&cfg, &n)
	defer c.close()
	if a := c.do(context.Background(), []byte("first")); a.kind != OK {
		t.Fatal(a.err)
	}
	<-pinged
	done := make(chan struct{})
	go func() { defer close(done); c.ended() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("it goes on for as long as there are pings")
	}
}

func TestWhatAServerSaysOfItselfIsKeptWithinBounds(t *testing.T) {
	t.Parallel()
	var ids identities
	for i := range 2 * maxIdentities {
		ids.of(strings.Repeat("9", 1+i%3) + "1")
	}
	many := identities{numbers: map[int]struct{}{}}
	for i := range maxIdentities {
		many.numbers[i+1] = struct{}{}
	}
	if got := many.number(maxIdentities + 1); got != 0 {
		t.Errorf("one number more is %d", got)
	}
	if got := many.of("7"); got != 7 {
		t.Errorf("a known one is %d", got)
	}
	long := strings.Repeat("é", 1000)
	if got := ids.text(ids.of(long)); len(got) > maxIdentity {
		t.Errorf("%d bytes are kept of an identity", len(got))
	}
	if got := clipped(strings.Repeat("é", 1000)); len(got) > 1<<10 || !utf8.ValidString(got) {
		t.Errorf("%d bytes are kept of an error, valid: %t", len(got), utf8.ValidString(got))
	}
	if clipped("as it is") != "as it is" {
		t.Error("a short error is changed")
	}
}
