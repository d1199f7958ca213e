package load

import (
	"bufio"
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// once makes a server that takes one request a connection and then misbehaves.
func once(misbehave func(c net.Conn, body []byte)) func(net.Conn) {
	return func(c net.Conn) {
		br := bufio.NewReader(c)
		if body, ok := taken(br); ok {
			misbehave(c, body)
		}
	}
}

func says(text func(body []byte) string) func(net.Conn) {
	return once(func(c net.Conn, body []byte) { io.WriteString(c, text(body)) })
}

func TestEachMisbehaviourCountsUnderItsKind(t *testing.T) {
	for _, test := range []struct {
		name   string
		server func(net.Conn)
		want   Kind
	}{
		{"closes without an answer", once(func(net.Conn, []byte) {}), EOF},
		{"resets", once(func(c net.Conn, _ []byte) { c.(*net.TCPConn).SetLinger(0) }), Reset},
		{"closes within the header", says(func([]byte) string { return "HTTP/1.1 200 OK\r\nConte" }), Truncated},
		{"closes within the body", says(func(b []byte) string { return strings.TrimSuffix(reply(b, ""), string(b[9:])) }), Truncated},
		{"closes within a body without a length", says(func(b []byte) string { return "HTTP/1.1 200 OK\r\n\r\n" + string(b[:9]) }), Truncated},
		{"closes within a chunk", says(func(b []byte) string {
			return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n" + string(b[:9])
		}), Truncated},
		{"is silent", once(func(c net.Conn, _ []byte) { io.Copy(io.Discard, c) }), Timeout},
		{"answers 503", says(func(b []byte) string {
			return strings.Replace(reply(b, "Connection: close\r\n"), "200 OK", "503 Busy", 1)
		}), Status},
		{"echoes another body", says(func(b []byte) string {
			return reply([]byte(strings.Replace(string(b), "request ", "request 1", 1)), "")
		}), Mismatch},
		{"answers twice", says(func(b []byte) string { return reply(b, "") + reply(b, "") }), Mismatch},
		{"speaks no HTTP", says(func([]byte) string { return "220 ready\r\n\r\n" }), Mismatch},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, shape := range []Shape{NewConn(), KeepAlive(), SlowPost(time.Millisecond)} {
				timeout := 5 * time.Second
				if test.want == Timeout {
					timeout = 100 * time.Millisecond
				}
				res := runUntil(t, Config{Target: Target{Addr: fake(t, test.server)}, Shape: shape, Timeout: timeout},
					func(c Counters) bool { return c.Failures[test.want] > 2 })
				if res.OK+res.Failures[test.want] != res.Requests && test.name != "answers twice" {
					t.Errorf("%s: %+v, want only %v", shape.Name, res.Counters, test.want)
				}
				if len(res.Errors) == 0 || res.Errors[0].Error == "" || res.Errors[0].Time.IsZero() {
					t.Errorf("%s: no failure is told: %+v", shape.Name, res.Errors)
				}
			}
		})
	}
}

func TestAConnectionClosedAfterAcceptLosesTheRequest(t *testing.T) {
	t.Parallel()
	addr := fake(t, func(net.Conn) {})
	res := runUntil(t, Config{Target: Target{Addr: addr}, Shape: LateFirstByte(2 * time.Millisecond)},
		func(c Counters) bool { return c.Failed > 5 })
	if res.Lost() != res.Requests {
		t.Errorf("lost %d of %d: %+v", res.Lost(), res.Requests, res.Counters)
	}
}

func TestAnAnswerBeforeTheBodysEndCountsByItsStatus(t *testing.T) {
	t.Parallel()
	// The server answers the header and closes its side of the body.
	addr := fake(t, func(c net.Conn) {
		br := bufio.NewReader(c)
		for line := ""; line != "\r\n"; {
			var err error
			if line, err = br.ReadString('\n'); err != nil {
				return
			}
		}
		io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		io.Copy(io.Discard, c)
	})
	res := runUntil(t, Config{Target: Target{Addr: addr}, Shape: SlowPost(time.Millisecond)},
		func(c Counters) bool { return c.Failed > 2 })
	if res.Failures[Status] != res.Failed {
		t.Errorf("%+v, want only status", res.Counters)
	}
}

func TestNobodyListeningIsRefused(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	began := time.Now()
	res := runUntil(t, Config{Target: Target{Addr: ln.Addr().String()}}, func(c Counters) bool { return c.Failed > 4 })
	if res.Failures[Refused] != res.Requests {
		t.Errorf("%+v, want only refused", res.Counters)
	}
	if took := time.Since(began); took < 3*afterConnectFailure {
		t.Errorf("5 refused connects in %v: the worker spins", took)
	}
}

func TestOtherConnectErrorsAreTold(t *testing.T) {
	t.Parallel()
	missing := Target{Network: "unix", Addr: filepath.Join(t.TempDir(), "missing")}
	notTLS := goodServer(t, "tcp", HTTP1, true)
	notTLS.Addr = fake(t, echoes)
	for name, target := range map[string]Target{"no such socket": missing, "no TLS": notTLS} {
		res := runUntil(t, Config{Target: target}, func(c Counters) bool { return c.Failed > 1 })
		if res.Failures[Connect] != res.Requests {
			t.Errorf("%s: %+v, want only connect", name, res.Counters)
		}
	}
}

func TestConnectionCloseIsAReconnectAndNoFailure(t *testing.T) {
	t.Parallel()
	addr := fake(t, says(func(b []byte) string { return reply(b, "Connection: close\r\n") }))
	res := runUntil(t, Config{Target: Target{Addr: addr}, Workers: 4}, func(c Counters) bool { return c.OK > 50 })
	if res.Failed > 0 || res.Reconnects != res.OK {
		t.Errorf("%+v, want no failure and a reconnect for each answer: %v", res.Counters, res.Errors)
	}
}

// idleClosed makes one request on a connection that the server then closes
// without a word, waits until it has, and makes another.
func idleClosed(t *testing.T, target Target, closed <-chan struct{}, peek bool) (answer, *tally) {
	cfg, err := Config{Target: target, Peek: peek}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	var n tally
	c := newHTTP1(&cfg, &n)
	t.Cleanup(c.close)
	if a := c.do(context.Background(), []byte("first")); a.kind != OK {
		t.Fatalf("first: %v", a.err)
	}
	<-closed
	return c.do(context.Background(), []byte("second")), &n
}

func TestAnIdleCloseIsLostUnlessPeekedAt(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		for _, peek := range []bool{false, true} {
			if peek && !peekSupported {
				continue
			}
			target, closed := closesAfterOne(t, secure)
			a, n := idleClosed(t, target, closed, peek)
			if peek && (a.kind != OK || n.closedIdle.Load() != 1) {
				t.Errorf("TLS %t, peeking: %v (%v), %d closed idle; want ok and 1", secure, a.kind, a.err, n.closedIdle.Load())
			}
			if !peek && (a.kind != EOF && a.kind != Reset || n.closedIdle.Load() != 0) {
				t.Errorf("TLS %t, strict: %v (%v), %d closed idle; want a loss", secure, a.kind, a.err, n.closedIdle.Load())
			}
		}
	}
}

func TestPeekingLeavesAQuietConnectionAlone(t *testing.T) {
	t.Parallel()
	if !peekSupported {
		t.Skip("Peek isn't available on this system")
	}
	for _, secure := range []bool{false, true} {
		res := runUntil(t, Config{Target: goodServer(t, "tcp", HTTP1, secure), Peek: true},
			func(c Counters) bool { return c.Requests > 200 })
		if res.Failed+res.ClosedIdle > 0 || res.Connections != 1 {
			t.Errorf("TLS %t: %+v, want all on one connection: %v", secure, res.Counters, res.Errors)
		}
	}
}

func TestNoRequestIsSentTwice(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	got := map[string]int{}
	addr := fake(t, func(c net.Conn) {
		br := bufio.NewReader(c)
		for range 2 { // then closes without a word: the next one is lost
			body, ok := taken(br)
			if !ok {
				return
			}
			mu.Lock()
			got[string(body)]++
			mu.Unlock()
			io.WriteString(c, reply(body, ""))
		}
	})
	res := runUntil(t, Config{Target: Target{Addr: addr}, Workers: 4}, func(c Counters) bool { return c.Failed > 50 })
	mu.Lock()
	defer mu.Unlock()
	for body, n := range got {
		if n > 1 {
			t.Errorf("%q came %d times", body, n)
		}
	}
	if uint64(len(got)) != res.OK {
		t.Errorf("the server answered %d, the client had %d answers", len(got), res.OK)
	}
}
