package graceful

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
)

// Get returns what a URL answers on a new connection, within 10 seconds.
func (s *Server) Get(path string) (string, error) {
	conn, err := net.Dial("tcp", s.HTTP)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", path)
	all, err := io.ReadAll(conn)
	_, body, _ := strings.Cut(string(all), "\r\n\r\n")
	return body, err
}

// Version returns the version that answers.
func (s *Server) Version() string {
	s.T.Helper()
	body, err := s.Get("/")
	if err != nil {
		s.T.Fatal(err)
	}
	_, version, ok := strings.Cut(strings.TrimSpace(body), "version=")
	if !ok {
		s.T.Fatalf("the server says %q", body)
	}
	return version
}

// KeepAlive opens a connection that is idle after one request.
func (s *Server) KeepAlive() (net.Conn, error) {
	conn, err := net.Dial("tcp", s.HTTP)
	if err != nil {
		return nil, err
	}
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// NoLoss fails the test for each request that was lost.
func NoLoss(t testing.TB, r load.Result) {
	t.Helper()
	t.Logf("%v: %d requests on %d connections, %d reconnects, %d retryable, %d failed; p99.9 steady %v, around upgrades %v",
		r.Shapes, r.Requests, r.Connections, r.Reconnects, r.Retryable, r.Failed, r.Steady.P999, r.Around.P999)
	if r.Failed > 0 {
		t.Errorf("failed: %v", r.Failures)
		for _, f := range r.Errors {
			t.Errorf("  %v %s worker %d request %d: %s", f.Time.Format("15:04:05.000"), f.Shape, f.Worker, f.Request, f.Error)
		}
	}
	if r.OK == 0 {
		t.Error("no request was answered at all")
	}
}
