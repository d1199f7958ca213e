//go:build unix

package handoff

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"testing"
	"time"
)

// countLines answers each line by how many there were. The half of a line is part of
// the state.
func countLines(ctx context.Context, conn net.Conn, state []byte) (next []byte, move bool) {
	var (
		count int
		half  string
	)
	fmt.Sscanf(string(state), "%d %s", &count, &half)
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for in := bufio.NewReader(conn); ; {
		part, err := in.ReadString('\n')
		half += part
		if err != nil {
			return fmt.Appendf(nil, "%d %s", count, half), ctx.Err() != nil
		}
		count++
		fmt.Fprintf(conn, "%d %s", count, half)
		half = ""
	}
}

// servedConns begins to serve, and returns what drains as after a hand-over.
func servedConns(t *testing.T, u *Upgrader, ln net.Listener, serve ServeConn) (drain func(ctx context.Context) <-chan error) {
	t.Helper()
	service := u.ServeConns(ln, serve)
	ended := make(chan error, 1)
	go func() { ended <- service.Serve() }()
	return func(ctx context.Context) <-chan error {
		ln.(*listener).end()
		drained := make(chan error, 1)
		go func() {
			drained <- service.Drain(ctx)
			if err := <-ended; !errors.Is(err, net.ErrClosed) {
				t.Errorf("Serve: %v, want %v", err, net.ErrClosed)
			}
		}()
		return drained
	}
}

func mustCount(t *testing.T, client net.Conn, in *bufio.Reader, send, want string) {
	t.Helper()
	client.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := client.Write([]byte(send)); err != nil {
		t.Fatal(err)
	}
	if got, err := in.ReadString('\n'); err != nil || got != want {
		t.Fatalf("%q is answered by %q, %v, want %q", send, got, err, want)
	}
}

func TestAConnectionThatMayMoveGoesOnInTheSuccessor(t *testing.T) {
	t.Parallel()
	last, at := generationAt(t, "tcp")
	servedConns(t, last, at, countLines)
	drains := []func(context.Context) <-chan error{}
	newer := last
	var first net.Listener
	for range 5 {
		u, ln := generationAt(t, "tcp")
		linked(t, u, newer)
		drains = append(drains, servedConns(t, u, ln, countLines))
		newer, first = u, ln
	}
	client := dialTo(t, first)
	in := bufio.NewReader(client)
	mustCount(t, client, in, "a\nx", "1 a\n")
	for count := 2; len(drains) > 0; count++ {
		if err := until(t, drains[len(drains)-1](t.Context()), "the end of the drain"); err != nil {
			t.Fatal(err)
		}
		drains = drains[:len(drains)-1]
		mustCount(t, client, in, "b\nx", strconv.Itoa(count)+" xb\n")
	}
}

func TestAConnectionThatTheSuccessorDoesNotTakeIsServedToItsEnd(t *testing.T) {
	t.Parallel()
	older, from := generationAt(t, "tcp")
	newer := newUpgrader(t, Options{}) // without such a listener
	linked(t, older, newer)
	drain := servedConns(t, older, from, countLines)
	client := dialTo(t, from)
	in := bufio.NewReader(client)
	mustCount(t, client, in, "a\nx", "1 a\n")
	drained := drain(t.Context())
	mustCount(t, client, in, "b\n", "2 xb\n")
	client.Close()
	if err := until(t, drained, "the end of the drain"); err != nil {
		t.Error(err)
	}
}

func TestAConnectionThatMayNotMoveIsCutAtTheEndOfTheDrain(t *testing.T) {
	t.Parallel()
	older, from := generationAt(t, "tcp")
	newer, to := generationAt(t, "tcp")
	linked(t, older, newer)
	servedConns(t, newer, to, countLines)
	began := make(chan struct{})
	drain := servedConns(t, older, from, func(ctx context.Context, conn net.Conn, _ []byte) ([]byte, bool) {
		close(began)
		<-ctx.Done()
		if cause := context.Cause(ctx); !errors.Is(cause, ErrHandedOver) {
			t.Errorf("the cause is %v, want %v", cause, ErrHandedOver)
		}
		conn.Read(make([]byte, 1)) // does not end
		return nil, false
	})
	client := dialTo(t, from)
	<-began
	ctx, cancel := context.WithCancelCause(t.Context())
	drained := drain(ctx)
	select {
	case <-drained:
		t.Fatal("the drain did not wait")
	case <-time.After(20 * time.Millisecond):
	}
	cause := errors.New("enough")
	cancel(cause)
	if err := until(t, drained, "the end of the drain"); !errors.Is(err, cause) {
		t.Errorf("Drain: %v, want %v", err, cause)
	}
	client.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := client.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the client reads %v", err)
	}
}

func TestWhenTheServiceStopsConnectionsEndAndDoNotMove(t *testing.T) {
	t.Parallel()
	u, ln := generationAt(t, "tcp")
	causes := make(chan error, 1)
	ended := running(u, t.Context(), u.ServeConns(ln, func(ctx context.Context, conn net.Conn, _ []byte) ([]byte, bool) {
		conn.Write([]byte("hi"))
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return nil, true
	}))
	client := dialTo(t, ln)
	client.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := client.Read(make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	u.Stop()
	if cause := until(t, causes, "the end of its context"); !errors.Is(cause, ErrStopping) {
		t.Errorf("the cause is %v, want %v", cause, ErrStopping)
	}
	if err := until(t, ended, "the end of Run"); err != nil {
		t.Error(err)
	}
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("the client is still connected")
	}
}
