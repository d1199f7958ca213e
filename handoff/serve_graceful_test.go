package handoff

import (
	"bufio"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// callServer does with connections what grpc-go's server does: it closes those that
// it has not begun with when GracefulStop is called, waits for the handshake of the
// others, and only then tells any client that it has to go.
type callServer struct {
	before func() // between the accept of a connection and the look whether it stops
	quit   chan struct{}

	handshakes sync.WaitGroup
	calls      sync.WaitGroup
	leave      chan struct{} // what it tells the clients
}

func newCallServer() *callServer {
	return &callServer{before: func() {}, quit: make(chan struct{}), leave: make(chan struct{})}
}

func (s *callServer) Serve(ln net.Listener) error {
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		s.handshakes.Go(func() { s.greet(c) })
	}
}

func (s *callServer) greet(c net.Conn) {
	s.before()
	select {
	case <-s.quit:
		c.Close()
		return
	default:
	}
	c.SetDeadline(time.Now().Add(time.Hour))
	r := bufio.NewReader(c)
	if hello, _ := r.ReadString('\n'); hello != "hello\n" {
		c.Close()
		return
	}
	c.SetDeadline(time.Time{})
	s.calls.Go(func() {
		defer c.Close()
		io.WriteString(c, "welcome\n")
		r.ReadString('\n')
		<-s.leave
		io.WriteString(c, "leave\n")
	})
}

func (s *callServer) GracefulStop() {
	close(s.quit)
	s.handshakes.Wait()
	close(s.leave)
	s.calls.Wait()
}

// say sends a line and returns the next that comes.
func (c *rawClient) say(t *testing.T, line string) string {
	t.Helper()
	if _, err := io.WriteString(c, line); err != nil {
		t.Fatal(err)
	}
	answer, err := c.r.ReadString('\n')
	if err != nil {
		t.Error(err)
	}
	return answer
}

func TestAConnectionAcceptedAtTheLastMomentIsServed(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{DrainTimeout: time.Hour})
	accepted := make(chan struct{})
	s := newCallServer()
	s.before = func() {
		close(accepted)
		select { // a machine with much to do
		case <-s.quit:
		case <-time.After(100 * time.Millisecond):
		}
	}
	ln := listenLocal(t, u)
	end := served(t, u, Serve(s, ln))
	c := rawDial(t, ln)
	until(t, accepted, "the accept")
	handOver(u)
	if got := c.say(t, "hello\n"); got != "welcome\n" {
		t.Errorf("got %q", got)
	}
	if got := c.say(t, "call\n"); got != "leave\n" {
		t.Errorf("got %q", got)
	}
	if err := until(t, end, "the end of Run"); err != nil {
		t.Error(err)
	}
}

func TestASilentConnectionDoesNotKeepTheOthersFromLeaving(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{DrainTimeout: time.Hour})
	s := newCallServer()
	ln := listenLocal(t, u)
	end := served(t, u, Serve(s, ln))
	silent, half, caller := rawDial(t, ln), rawDial(t, ln), rawDial(t, ln)
	io.WriteString(half, "hel")
	if got := caller.say(t, "hello\n"); got != "welcome\n" { // the others were accepted before
		t.Fatalf("got %q", got)
	}
	handOver(u)
	for _, c := range []*rawClient{silent, half} {
		if _, err := c.r.ReadByte(); err != io.EOF {
			t.Errorf("a connection that is silent: %v, want %v", err, io.EOF)
		}
	}
	if got := caller.say(t, "call\n"); got != "leave\n" {
		t.Errorf("got %q", got)
	}
	if err := until(t, end, "the end of Run"); err != nil {
		t.Error(err)
	}
}

func TestOnlyAHandshakeIsLimited(t *testing.T) {
	t.Parallel()
	far, end := time.Now().Add(time.Hour), time.Now().Add(time.Second)
	for name, tc := range map[string]struct {
		set  []time.Time // by the server
		want time.Time
	}{
		"no deadline":          {nil, time.Time{}},
		"a handshake":          {[]time.Time{far}, end},
		"one that ends before": {[]time.Time{end.Add(-1)}, end.Add(-1)},
		"ended, no deadline":   {[]time.Time{far, {}}, time.Time{}},
		"ended, another one":   {[]time.Time{far, far}, far},
	} {
		var deadline time.Time
		i := &idleness{setDeadline: func(t time.Time) error { deadline = t; return nil }}
		for _, d := range tc.set {
			i.setReadDeadline(d)
		}
		i.limitHandshake(end)
		if !deadline.Equal(tc.want) {
			t.Errorf("%s: the deadline is %v, want %v", name, deadline, tc.want)
		}
	}
}
