package handoff

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestDrainingOutlivesTheHandlerOfAHijackedConnection(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{DrainTimeout: time.Hour})
	request := make(chan context.Context, 1)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		context.AfterFunc(Draining(r.Context()), func() {
			io.WriteString(conn, "bye\n")
			conn.Close()
		})
		request <- r.Context()
	})}
	ln := listenLocal(t, u)
	end := served(t, u, Serve(srv, ln))
	c := rawDial(t, ln)
	c.send(t)
	until(t, until(t, request, "the request").Done(), "the handler's return")
	handOver(u)
	if line, err := c.r.ReadString('\n'); line != "bye\n" {
		t.Error(line, err)
	}
	until(t, end, "the end of Run")
}

// Browsers refuse a WebSocket whose answer has two Connection headers, which is what
// a proxy behind httpDrain would make of the one that tells the client to leave.
// Java's HttpClient sends an Upgrade with every request, which is no reason to stay.
func TestAnAnswerThatChangesTheProtocolIsLeftAloneAndNoOther(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		handler func(w http.ResponseWriter)
		wrote   string
		last    bool
	}{
		"nothing":    {func(http.ResponseWriter) {}, "", true},
		"body":       {func(w http.ResponseWriter) { io.WriteString(w, "hello") }, "hello", true},
		"status":     {func(w http.ResponseWriter) { w.WriteHeader(404) }, "", true},
		"early hint": {func(w http.ResponseWriter) { w.WriteHeader(103); w.Write([]byte("hello")) }, "hello", true},
		"flush":      {func(w http.ResponseWriter) { w.(http.Flusher).Flush(); w.Write([]byte("hello")) }, "hello", true},
		"controller": {func(w http.ResponseWriter) {
			c := http.NewResponseController(w)
			if err := errors.Join(c.SetWriteDeadline(time.Now().Add(time.Hour)), c.EnableFullDuplex(), c.Flush()); err != nil {
				t.Error(err)
			}
		}, "", true},
		"copy": {func(w http.ResponseWriter) { io.Copy(w, io.LimitReader(strings.NewReader("hello, world"), 5)) }, "hello", true},
		"101": {func(w http.ResponseWriter) {
			w.Header().Set("Connection", "Upgrade")
			w.WriteHeader(101)
		}, "", false},
		"hijack": {func(w http.ResponseWriter) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: "+strings.Join(append(w.Header()["Connection"], "Upgrade"), ",")+"\r\n\r\n")
			c.Close()
		}, "", false},
	} {
		u := newUpgrader(t, Options{DrainTimeout: time.Hour})
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Upgrade") != "" {
				tc.handler(w)
			}
		})}
		ln := listenLocal(t, u)
		end := served(t, u, Serve(srv, ln))
		c := rawDial(t, ln)
		c.send(t)
		c.answer(t)
		handOver(u)
		until(t, srv.Handler.(*httpDrain).began.Done(), "the drain")
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
		resp, err := http.ReadResponse(c.r, nil)
		if err == nil && resp.StatusCode == 103 {
			resp, err = http.ReadResponse(c.r, nil)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		connection := strings.Join(resp.Header["Connection"], ",")
		if tc.last {
			text, err := io.ReadAll(resp.Body)
			if err != nil || string(text) != tc.wrote || !resp.Close {
				t.Errorf("%s: %q, last: %v, error: %v", name, text, resp.Close, err)
			}
		} else if connection != "Upgrade" {
			t.Errorf("%s: Connection: %s", name, connection)
		}
		c.Close()
		until(t, end, "the end of Run")
	}
}

func TestOnShutdownHooksRunOnceWhenTheDrainBegins(t *testing.T) {
	t.Parallel()
	for way, end := range map[string]func(*Upgrader){"hands over": handOver, "stops": (*Upgrader).Stop} {
		u := newUpgrader(t, Options{DrainTimeout: time.Hour})
		conns := make(chan net.Conn, 1)
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
			}
			conns <- c
		})}
		ran := make(chan struct{}, 9)
		srv.RegisterOnShutdown(func() { ran <- struct{}{} })
		one, two := listenLocal(t, u), listenLocal(t, u)
		over := served(t, u, Serve(srv, one), Serve(srv, two))
		c := rawDial(t, one)
		c.send(t)
		conn := until(t, conns, "the connection")
		end(u)
		until(t, ran, way+": the hook") // the connection is there still
		select {
		case err := <-over:
			t.Errorf("%s: Run has ended: %v", way, err)
		default:
		}
		conn.Close()
		until(t, over, "the end of Run")
		select {
		case <-ran:
			t.Errorf("%s: the hook runs twice", way)
		default:
		}
	}
}
