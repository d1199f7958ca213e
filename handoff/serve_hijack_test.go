package handoff

import (
	"context"
	"io"
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
func TestAnAnswerThatChangesTheProtocolIsLeftAlone(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{DrainTimeout: time.Hour})
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Join(w.Header()["Connection"], ","))
	})}
	ln := listenLocal(t, u)
	end := served(t, u, Serve(srv, ln))
	c := rawDial(t, ln)
	c.send(t)
	c.answer(t)
	handOver(u)
	until(t, srv.Handler.(*httpDrain).began.Done(), "the drain")
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if text, last := c.answer(t); text != "" || last {
		t.Errorf("the answer to an upgrade has Connection %q, last: %v", text, last)
	}
	c.send(t)
	if text, last := c.answer(t); text != "close" || !last {
		t.Errorf("the next answer has Connection %q, last: %v", text, last)
	}
	until(t, end, "the end of Run")
}
