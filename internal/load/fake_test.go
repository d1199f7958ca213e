package load

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"
)

// fake answers each connection with handle, in its own goroutine, and closes
// it afterwards.
func fake(t *testing.T, handle func(c net.Conn)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
	return ln.Addr().String()
}

// taken reads one request with its body.
func taken(br *bufio.Reader) (body []byte, ok bool) {
	req, err := http.ReadRequest(br)
	if err != nil {
		return nil, false
	}
	body, err = io.ReadAll(req.Body)
	return body, err == nil
}

func reply(body []byte, header string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s", len(body), header, body)
}

// echoes answers rightly until the connection ends.
func echoes(c net.Conn) {
	br := bufio.NewReader(c)
	for {
		body, ok := taken(br)
		if !ok {
			return
		}
		io.WriteString(c, reply(body, ""))
	}
}

func echoHandler(pid string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set(pidHeader, pid)
		w.Write(body)
	})
}

// goodServer is net/http's server on the target's network and protocol.
func goodServer(t *testing.T, network, proto string, secure bool) Target {
	t.Helper()
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(echoHandler("42"))
	srv.Listener.Close()
	srv.Listener = ln
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(proto == HTTP1)
	srv.Config.Protocols.SetHTTP2(proto == HTTP2)
	srv.Config.Protocols.SetUnencryptedHTTP2(proto == H2C)
	target := Target{Network: network, Addr: ln.Addr().String(), Proto: proto}
	if secure {
		srv.EnableHTTP2 = proto == HTTP2
		srv.StartTLS()
		target.TLS = srv.Client().Transport.(*http.Transport).TLSClientConfig
		if network == "unix" {
			target.TLS = &tls.Config{RootCAs: target.TLS.RootCAs, ServerName: "example.com"}
		}
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	return target
}

// runUntil starts load, waits for done to be true of its counters, and stops.
func runUntil(t *testing.T, cfg Config, done func(Counters) bool) Result {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Second
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for !done(r.Snapshot()) {
		if ctx.Err() != nil {
			res := r.Stop()
			t.Fatalf("not there in time: %+v, errors %v", res.Counters, res.Errors[:min(len(res.Errors), 5)])
		}
		sleep(ctx, time.Millisecond)
	}
	return r.Stop()
}

// closesAfterOne answers one request a connection and closes it without a
// word; closed is sent to after each close.
func closesAfterOne(t *testing.T, secure bool) (Target, <-chan struct{}) {
	target := Target{}
	var cfg *tls.Config
	if secure {
		srv := httptest.NewTLSServer(nil)
		t.Cleanup(srv.Close)
		target.TLS = srv.Client().Transport.(*http.Transport).TLSClientConfig
		cfg = srv.TLS
	}
	closed := make(chan struct{}, 8)
	target.Addr = fake(t, func(c net.Conn) {
		if secure {
			c = tls.Server(c, cfg)
		}
		if body, ok := taken(bufio.NewReader(c)); ok {
			io.WriteString(c, reply(body, ""))
		}
		c.Close()
		closed <- struct{}{}
	})
	return target, closed
}
