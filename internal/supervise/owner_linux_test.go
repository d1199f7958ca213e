package supervise

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

func TestTheHostIsOneThatABrowserWouldSend(t *testing.T) {
	t.Parallel()
	for want, addr := range map[string]net.Addr{
		"localhost:8080": &net.TCPAddr{IP: net.IPv6unspecified, Port: 8080},
		"localhost:8081": &net.TCPAddr{IP: net.IPv4zero, Port: 8081},
		"localhost:8082": &net.TCPAddr{Port: 8082},
		"127.0.0.1:3000": &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 3000},
		"[::1]:3000":     &net.TCPAddr{IP: net.IPv6loopback, Port: 3000},
		"[fe80::1]:3000": &net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 3000, Zone: "eth0"},
		"192.0.2.1":      &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80},
		"localhost":      &net.UnixAddr{Name: "/run/app.sock", Net: "unix"},
	} {
		if got := hostOf(addr); got != want {
			t.Errorf("%v: %q, want %q", addr, got, want)
		}
	}
}

// asked has serve answer on one connection of each question, and returns the errors.
func asked(t *testing.T, host string, serve func(c net.Conn)) error {
	t.Helper()
	ln, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c) }()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return askHTTP(ctx, ln.Addr(), "/healthz", host, os.Getpid())
}

func TestWhatAnswersInsteadOfHTTPIsNamed(t *testing.T) {
	t.Parallel()
	says := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				_, _ = io.WriteString(c, text)
			}
		}
	}
	for want, serve := range map[string]func(net.Conn){
		"answers TLS, not HTTP":                      says("\x15\x03\x01\x00\x02\x02\x46"),
		"answers no HTTP: \"220 ready\"":             says("220 ready\r\n"),
		"answers no HTTP: \"junk\"":                  says("junk"),
		"answers HTTP/2":                             says("\x00\x00\x12\x04\x00\x00\x00\x00\x00"),
		"without an answer":                          says(""),
		"it may want another (--ready-host), or TLS": says("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"the answer is \"HTTP/1.1 503":               says("HTTP/1.1 503 Busy\r\n\r\n"),
	} {
		if err := asked(t, "", serve); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestTheHostIsSent(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{"": "localhost:", "app.example": "app.example"} {
		err := asked(t, host, func(c net.Conn) {
			r, err := http.ReadRequest(bufio.NewReader(c))
			if err == nil && strings.HasPrefix(r.Host, want) {
				_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
			}
		})
		if err != nil {
			t.Errorf("%q: %v", host, err)
		}
	}
}
