package load

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestAURLIsATarget(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ url, network, addr, proto, host, path, tls string }{
		{"http://a.example", "tcp", "a.example:80", HTTP1, "a.example", "/", ""},
		{"http://a.example:81/b?c=d", "tcp", "a.example:81", HTTP1, "a.example:81", "/b?c=d", ""},
		{"https://[::1]/b", "tcp", "[::1]:443", HTTP1, "[::1]", "/b", "::1"},
		{"h2://a.example/b", "tcp", "a.example:443", HTTP2, "a.example", "/b", "a.example"},
		{"h2c://a.example/b", "tcp", "a.example:80", H2C, "a.example", "/b", ""},
		{"wss://a.example/b", "tcp", "a.example:443", WebSocket, "a.example", "/b", "a.example"},
		{"grpc://a.example:1/my.Service", "tcp", "a.example:1", GRPCHealth, "a.example:1", "my.Service", ""},
		{"grpcs://a.example", "tcp", "a.example:443", GRPCHealth, "a.example", "", "a.example"},
		{"unix:/run/a.sock", "unix", "/run/a.sock", HTTP1, "localhost", "/", ""},
		{"unix:///run/a.sock:/b?c", "unix", "/run/a.sock", HTTP1, "localhost", "/b?c", ""},
	} {
		got, err := ParseURL(test.url)
		name := ""
		if got.TLS != nil {
			name = got.TLS.ServerName
		}
		if err != nil || got.Network != test.network || got.Addr != test.addr || got.Proto != test.proto ||
			got.Host != test.host || got.Path != test.path || name != test.tls {
			t.Errorf("%s: %+v (%v)", test.url, got, err)
		}
	}
	for _, url := range []string{"", "a.example:80", "ftp://a.example", "http://", "http://me:you@a.example", "unix:", "unix:/a:b", "http://a b/"} {
		if got, err := ParseURL(url); err == nil {
			t.Errorf("%q was taken for %+v", url, got)
		}
	}
}

func TestAServerThatDoesNotEchoIsJudgedByItsStatusAndItsBodysEnd(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{HTTP1, H2C} {
		var code atomic.Int64
		code.Store(204)
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || r.URL.RawQuery != "c=d" || r.Header.Get("Authorization") != "me" || r.Host != "a.example" || r.ContentLength > 0 {
				t.Errorf("%s %s of %s, %d bytes, header %v", r.Method, r.URL, r.Host, r.ContentLength, r.Header)
			}
			w.Header().Set("X-Version", "one")
			w.WriteHeader(int(code.Load()))
		}))
		srv.Config.Protocols = new(http.Protocols)
		srv.Config.Protocols.SetHTTP1(true)
		srv.Config.Protocols.SetUnencryptedHTTP2(true)
		srv.Start()
		t.Cleanup(srv.Close)
		cfg := Config{Target: Target{
			Addr: srv.Listener.Addr().String(), Proto: proto, Host: "a.example", Path: "/b?c=d", Method: http.MethodGet,
			Accept: func(status int) bool { return status == 204 }, Header: http.Header{"Authorization": {"me"}}, Identity: "X-Version",
		}}
		res := runUntil(t, cfg, func(c Counters) bool { return c.Requests > 9 })
		if res.OK != res.Requests || len(res.PIDs) != 1 || res.PIDs[0].Identity != "one" || res.PIDs[0].Answers != res.OK {
			t.Errorf("%s: %+v by %+v: %v", proto, res.Counters, res.PIDs, res.Errors)
		}
		if f, err := Probe(t.Context(), cfg); f != nil || err != nil {
			t.Errorf("%s: %+v, %v", proto, f, err)
		}
		code.Store(503)
		if f, err := Probe(t.Context(), cfg); err != nil || f == nil || f.Kind != Status || !strings.Contains(f.Error, "503") {
			t.Errorf("%s: %+v, %v", proto, f, err)
		}
	}
	cut := fake(t, says(func([]byte) string { return "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf" }))
	res := runUntil(t, Config{Target: Target{Addr: cut, Method: http.MethodGet, Accept: func(int) bool { return true }}},
		func(c Counters) bool { return c.Failed > 3 })
	if res.Failures[Truncated] != res.Requests {
		t.Errorf("%+v: %v", res.Counters, res.Errors)
	}
}

// TestAFailureSaysHowFarItsRequestHadCome has the server of each case end the
// connection by itself at some stage.
func TestAFailureSaysHowFarItsRequestHadCome(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	// half reads the first piece of a request and closes.
	half := func(c net.Conn) {
		br := bufio.NewReader(c)
		if _, ok := taken(br); ok {
			io.WriteString(c, reply([]byte("no"), ""))
		}
	}
	for _, test := range []struct {
		name  string
		cfg   Config
		kind  Kind
		stage Stage
		kept  bool
	}{
		{"nobody listens", Config{Target: Target{Addr: ln.Addr().String()}}, Refused, Connecting, false},
		{"a torn answer", Config{Target: Target{Addr: fake(t, once(func(c net.Conn, _ []byte) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nh")
			c.(*net.TCPConn).CloseWrite()
		}))}}, Truncated, Answering, false},
		{"no answer", Config{Target: Target{Addr: fake(t, once(func(net.Conn, []byte) {}))}}, EOF, Sent, false},
		{"another answer", Config{Target: Target{Addr: fake(t, half)}}, Mismatch, Answering, false},
		{"a second request without an answer", Config{Target: Target{Addr: fake(t, func(c net.Conn) {
			br := bufio.NewReader(c)
			body, _ := taken(br)
			io.WriteString(c, reply(body, ""))
			taken(br)
		})}}, EOF, Sent, true},
		{"the end within a header", Config{Peek: peekSupported, Shape: SlowHeader(50 * time.Millisecond), Target: Target{Addr: fake(t, func(c net.Conn) {
			c.Read(make([]byte, 1))
		})}}, EOF, Sending, false},
	} {
		if test.stage == Sending && !peekSupported {
			continue
		}
		res := runUntil(t, test.cfg, func(c Counters) bool { return c.Failed > 2 })
		f := res.Errors[0]
		if f.Kind == Reset && test.kind == EOF {
			f.Kind = EOF // bytes that the server hasn't read make one of the other
		}
		if f.Kind != test.kind || f.Stage != test.stage || f.Kept != test.kept || f.Began.After(f.Time) {
			t.Errorf("%s: %+v", test.name, f)
		}
	}
}

func TestASlowHeaderArrivesWhole(t *testing.T) {
	t.Parallel()
	const pause = 20 * time.Millisecond
	res := runUntil(t, Config{Target: goodServer(t, "tcp", HTTP1, false), Shape: SlowHeader(pause), Peek: peekSupported},
		func(c Counters) bool { return c.Requests >= 5 })
	if res.OK != res.Requests || res.Connections != 1 || res.Steady.P50 > pause/2 || res.Ended.Sub(res.Began) < 5*pause {
		t.Errorf("%+v, %+v: %v", res.Counters, res.Steady, res.Errors)
	}
}

func TestAServerThatComesBackIsNotMetByAllThatItHasMissed(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	addr := fake(t, func(c net.Conn) {
		br := bufio.NewReader(c)
		for {
			body, ok := taken(br)
			if !ok {
				return
			}
			if n.Add(1) == 1 {
				time.Sleep(500 * time.Millisecond)
			}
			io.WriteString(c, reply(body, ""))
		}
	})
	const backlog = 50 * time.Millisecond
	res := runUntil(t, Config{Target: Target{Addr: addr}, Rate: 200, Backlog: backlog},
		func(c Counters) bool { return c.Requests >= 20 })
	due := uint64(200*res.Ended.Sub(res.Began).Seconds()) + 2
	if res.Skipped < 70 || res.Skipped+res.Requests > due || res.OK != res.Requests {
		t.Errorf("%+v, want some 90 skipped, and %d due in all", res.Counters, due)
	}
}

func TestAnIdentityIsANumberOrGetsOne(t *testing.T) {
	t.Parallel()
	var ids identities
	for text, want := range map[string]int{"": 0, "7": 7} {
		if got := ids.of(text); got != want || ids.text(got) != "" {
			t.Errorf("%q is %d (%q), want %d", text, got, ids.text(got), want)
		}
	}
	for _, text := range []string{"one", "-7", "99999999999", "0", "one"} {
		if got := ids.of(text); got >= 0 || ids.text(got) != text {
			t.Errorf("%q is %d, which is %q", text, got, ids.text(got))
		}
	}
	for i := range 2 * maxIdentities {
		ids.of(fmt.Sprint("another ", i))
	}
	if len(ids.texts) != maxIdentities || ids.of("one more") != 0 {
		t.Errorf("%d are kept", len(ids.texts))
	}
}

func TestWhatDoesNotFitIsRefused(t *testing.T) {
	t.Parallel()
	any := func(int) bool { return true }
	for _, cfg := range []Config{
		{Target: Target{Addr: "a:1", Method: "GET"}},
		{Target: Target{Addr: "a:1", Method: "GET", Accept: any}, Shape: SlowPost(1)},
		{Target: Target{Addr: "a:1", Proto: H2C}, Shape: SlowHeader(1)},
		{Target: Target{Addr: "a:1", Proto: WebSocket}, Shape: SlowPost(1)},
		{Target: Target{Addr: "a:1"}, Backlog: -1},
	} {
		if _, err := Probe(context.Background(), cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}
