package handoff

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// gated returns a listener as Upgrader.Listen makes it.
func gated(t *testing.T, network string, state gateState) *listener {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	inner, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	l := newListener(inner.(socketListener), state)
	t.Cleanup(func() { l.Close() })
	return l
}

func dialTo(t *testing.T, ln net.Listener) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout(ln.Addr().Network(), ln.Addr().String(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// accepting accepts until there is an error, and hands out what comes.
func accepting(l net.Listener) (conns <-chan net.Conn, end <-chan error) {
	c, e := make(chan net.Conn), make(chan error, 1)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				e <- err
				return
			}
			c <- conn
		}
	}()
	return c, e
}

// watched tells of the calls of its Accept.
type watched struct {
	socketListener
	called   chan struct{}
	returned chan error
}

func (w *watched) Accept() (net.Conn, error) {
	w.called <- struct{}{}
	conn, err := w.socketListener.Accept()
	w.returned <- err
	return conn, err
}

func TestAPausedListenerLeavesConnectionsInTheQueue(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp", "unix"} {
		l := gated(t, network, gateOpen)
		w := &watched{l.socketListener, make(chan struct{}, 10), make(chan error, 10)}
		l.socketListener = w
		conns, end := accepting(l)
		<-w.called
		l.gate.set(gatePaused)
		if err := <-w.returned; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the pause woke Accept with %v", network, err)
		}
		client := dialTo(t, l)
		select {
		case conn := <-conns:
			t.Errorf("%s: a paused listener accepted", network)
			conn.Close()
			client = dialTo(t, l)
		case err := <-end:
			t.Fatalf("%s: the pause ended Accept: %v", network, err)
		case <-time.After(20 * time.Millisecond):
		}
		l.gate.set(gateOpen)
		served := <-conns
		if _, err := io.WriteString(served, "x"); err != nil {
			t.Error(err)
		}
		served.Close()
		if text, err := io.ReadAll(client); err != nil || string(text) != "x" {
			t.Errorf("%s: what waited got %q, %v", network, text, err)
		}
	}
}

func TestAListenerKeepsItsProgramsDeadlines(t *testing.T) {
	t.Parallel()
	for _, state := range []gateState{gateOpen, gatePaused} {
		l := gated(t, "tcp", state)
		if err := l.SetDeadline(time.Now().Add(5 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Accept: %v, want a timeout", err)
		}
		if err := l.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		l.gate.set(gateOpen)
		dialTo(t, l)
		conn, err := l.Accept()
		if err != nil {
			t.Fatalf("Accept after the deadline was taken back: %v", err)
		}
		conn.Close()
	}
}

func TestClosingAListenerEndsAcceptWithErrClosed(t *testing.T) {
	t.Parallel()
	for _, state := range []gateState{gateOpen, gatePaused} {
		l := gated(t, "tcp", state)
		_, end := accepting(l)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		err := <-end
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: %v, want %v", err, net.ErrClosed)
		}
		var op *net.OpError
		if !errors.As(err, &op) {
			t.Errorf("Accept: a %T, want a *net.OpError as the net package has it", err)
		}
		if err := l.Close(); err != nil {
			t.Errorf("a second Close: %v", err)
		}
	}
}

func TestAListenersConnectionsAreThoseOfTheNetPackage(t *testing.T) {
	t.Parallel()
	l := gated(t, "tcp", gateOpen)
	dialTo(t, l)
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, ok := conn.(*net.TCPConn); !ok {
		t.Errorf("Accept gave a %T", conn)
	}
	u := gated(t, "unix", gateOpen)
	dialTo(t, u)
	if conn, err = u.Accept(); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, ok := conn.(*net.UnixConn); !ok {
		t.Errorf("Accept gave a %T", conn)
	}
}

func TestClosingAUnixListenerLeavesItsFile(t *testing.T) {
	t.Parallel()
	l := gated(t, "unix", gateOpen)
	path := l.Addr().String()
	l.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

func TestNoConnectionIsLostInAStormOfPauses(t *testing.T) {
	t.Parallel()
	const clients, each = 4, 100
	l := gated(t, "tcp", gateOpen)
	for range 3 {
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				io.Copy(conn, conn)
				conn.Close()
			}
		}()
	}
	ctx, cancel := context.WithCancel(context.Background())
	var storm sync.WaitGroup
	storm.Go(func() {
		for ctx.Err() == nil {
			l.gate.set(gatePaused)
			l.gate.set(gateOpen)
		}
	})
	var work sync.WaitGroup
	for c := range clients {
		work.Go(func() {
			for i := range each {
				want := strconv.Itoa(c) + "/" + strconv.Itoa(i)
				conn, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				conn.SetDeadline(time.Now().Add(20 * time.Second))
				io.WriteString(conn, want)
				conn.(*net.TCPConn).CloseWrite()
				got, err := io.ReadAll(conn)
				conn.Close()
				if err != nil || string(got) != want {
					t.Errorf("%s: got %q, %v", want, got, err)
					return
				}
			}
		})
	}
	work.Wait()
	cancel()
	storm.Wait()
}
