package handoff

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"
)

// plainServer serves until its listener is closed, and then until it is told to
// end.
type plainServer struct {
	calls chan string
	cut   chan struct{}
}

func newPlainServer() *plainServer {
	return &plainServer{make(chan string, 10), make(chan struct{})}
}

func (s *plainServer) Serve(ln net.Listener) error {
	_, err := ln.Accept()
	return err
}

type withShutdown struct{ *plainServer }

func (s withShutdown) Shutdown(context.Context) error { s.calls <- "Shutdown"; return nil }
func (s withShutdown) GracefulStop()                  { s.calls <- "GracefulStop" }

type withGracefulStop struct{ *plainServer }

func (s withGracefulStop) GracefulStop() { s.calls <- "GracefulStop" }
func (s withGracefulStop) Stop()         { s.calls <- "Stop" }

// slowShutdown is a server whose connections never end.
type slowShutdown struct{ *plainServer }

func (s slowShutdown) Shutdown(ctx context.Context) error {
	s.calls <- "Shutdown"
	<-ctx.Done()
	return ctx.Err()
}
func (s slowShutdown) Close() error { s.calls <- "Close"; return nil }

type slowGracefulStop struct{ *plainServer }

func (s slowGracefulStop) GracefulStop() { s.calls <- "GracefulStop"; <-s.cut }
func (s slowGracefulStop) Stop()         { s.calls <- "Stop"; close(s.cut) }

// slowServe has neither Shutdown nor GracefulStop, and connections that go on.
type slowServe struct{ *plainServer }

func (s slowServe) Serve(ln net.Listener) error {
	ln.Accept()
	<-s.cut
	return nil
}
func (s slowServe) Close() error { s.calls <- "Close"; close(s.cut); return nil }

func TestAServerIsEndedByTheBestMethodThatItHas(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		of      func(*plainServer) Server
		timeout time.Duration
		want    []string
	}{
		"Shutdown":                {func(p *plainServer) Server { return withShutdown{p} }, time.Hour, []string{"Shutdown"}},
		"GracefulStop":            {func(p *plainServer) Server { return withGracefulStop{p} }, time.Hour, []string{"GracefulStop"}},
		"neither":                 {func(p *plainServer) Server { return p }, time.Hour, nil},
		"Shutdown in vain":        {func(p *plainServer) Server { return slowShutdown{p} }, 20 * time.Millisecond, []string{"Shutdown", "Close"}},
		"GracefulStop in vain":    {func(p *plainServer) Server { return slowGracefulStop{p} }, 20 * time.Millisecond, []string{"GracefulStop", "Stop"}},
		"neither, and it goes on": {func(p *plainServer) Server { return slowServe{p} }, 20 * time.Millisecond, []string{"Close"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newUpgrader(t, Options{DrainTimeout: tc.timeout})
			p := newPlainServer()
			end := running(u, context.Background(), Serve(tc.of(p), listenLocal(t, u)))
			if err := u.Ready(); err != nil {
				t.Fatal(err)
			}
			u.Stop()
			if err := until(t, end, "the end of Run"); err != nil {
				t.Error(err)
			}
			var got []string
			for range len(p.calls) {
				got = append(got, <-p.calls)
			}
			if len(got) != len(tc.want) || len(got) > 0 && got[0] != tc.want[0] || len(got) > 1 && got[1] != tc.want[1] {
				t.Errorf("called %v, want %v", got, tc.want)
			}
		})
	}
}

func TestDrainingOfAnyOtherContextNeverEnds(t *testing.T) {
	t.Parallel()
	if d := Draining(context.Background()); d.Done() != nil {
		t.Error("it may end")
	}
}

func TestACertificateThatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{})
	_, srv := answering("")
	err := until(t, running(u, context.Background(), ServeTLS(srv, listenLocal(t, u), "no.crt", "no.key")), "the end of Run")
	if err == nil || !errors.Is(err, errNotExist) {
		t.Errorf("Run: %v", err)
	}
}
