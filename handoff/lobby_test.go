//go:build unix

package handoff

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// takes is a taker that has room for all.
type takes func(*emigrant)

func (t takes) send(e *emigrant) { t(e) }

func (t takes) fetch(next func(int) []*emigrant) {
	for all := next(16); len(all) > 0; all = next(16) {
		for _, e := range all {
			t(e)
		}
	}
}

// waitingRoom is a lobby of its own.
type waitingRoom struct {
	*lobby
	from   *listener
	served chan net.Conn
}

func newWaitingRoom(t *testing.T, limit time.Duration) *waitingRoom {
	w := &waitingRoom{from: gated(t, "tcp", gateOpen), served: make(chan net.Conn, 1)}
	w.lobby = &lobby{conns: &connSet{}, limit: func(bool) time.Duration { return limit }, ready: func(c net.Conn, _ wait) { w.served <- c }}
	return w
}

// enters has a connection of l wait in a lobby, and returns its client.
func enters(t *testing.T, b *lobby, l *listener) *rawClient {
	t.Helper()
	client := rawDial(t, l)
	c, err := l.socketListener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fd := -1
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err == nil {
		err = raw.Control(func(own uintptr) { fd, _ = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) })
	}
	if err != nil || fd < 0 {
		t.Fatalf("a duplicate: %d, %v", fd, err)
	}
	b.enter([]int{fd}, []wait{{since: time.Now()}}, l)
	return client
}

func TestAGuestIsServedAtItsFirstByteWithAllOfThem(t *testing.T) {
	t.Parallel()
	w := newWaitingRoom(t, 0)
	client := enters(t, w.lobby, w.from)
	select {
	case <-w.served:
		t.Fatal("it is served without a byte")
	case <-time.After(50 * time.Millisecond):
	}
	write(t, client, "hello")
	c := until(t, w.served, "the guest")
	defer c.Close()
	got := make([]byte, 5)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
		t.Errorf("read %q: %v", got, err)
	}
	until(t, w.conns.none(), "its departure from the lobby")
}

func TestAGuestHasNoDeadlineOfTheLobbyWhenItIsServed(t *testing.T) {
	t.Parallel()
	w := newWaitingRoom(t, 300*time.Millisecond)
	client := enters(t, w.lobby, w.from)
	write(t, client, "h")
	c := until(t, w.served, "the guest")
	defer c.Close()
	io.ReadFull(c, make([]byte, 1))
	time.AfterFunc(500*time.Millisecond, func() { io.WriteString(client, "i") })
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Errorf("a read past the lobby's limit: %v", err)
	}
}

func TestAGuestThatWaitsForTooLongIsClosed(t *testing.T) {
	t.Parallel()
	w := newWaitingRoom(t, 50*time.Millisecond)
	client := enters(t, w.lobby, w.from)
	if _, err := client.r.ReadByte(); err != io.EOF {
		t.Errorf("the client reads %v, want %v", err, io.EOF)
	}
	until(t, w.conns.none(), "its departure from the lobby")
}

func TestAGuestGoesOnToTheNextGeneration(t *testing.T) {
	t.Parallel()
	w := newWaitingRoom(t, time.Hour)
	left := make(chan *emigrant, 2)
	before := enters(t, w.lobby, w.from)
	w.conns.move(takes(func(e *emigrant) { left <- e }))
	after := enters(t, w.lobby, w.from)
	for range 2 {
		e := until(t, left, "a guest")
		defer e.conn.Close()
		if e.from != w.from {
			t.Error("it comes from another listener")
		}
		if w.conns.len() == 0 {
			t.Error("it is not counted before it is gone")
		}
		e.gone()
	}
	until(t, w.conns.none(), "the guests' departure")
	_, _ = before, after
}

func TestAGuestThatSpeaksWhenItIsToLeaveIsServedOrLeavesWithItsByte(t *testing.T) {
	t.Parallel()
	for range 300 {
		w := newWaitingRoom(t, 0)
		left := make(chan *emigrant, 1)
		client := enters(t, w.lobby, w.from)
		guests := w.conns.all()
		go io.WriteString(client, "h")
		// As move does it, which may come to the guest when it is served already.
		go func() {
			time.Sleep(20 * time.Microsecond)
			if e := guests[0].(movable).leave(); e != nil {
				left <- e
			}
		}()
		var (
			c   net.Conn
			err error
		)
		select {
		case c = <-w.served:
			if n, err := c.Read(make([]byte, 8)); n != 1 || err != nil {
				t.Fatalf("the server reads %d bytes: %v", n, err)
			}
		case e := <-left:
			if c, err = e.reclaim(); err != nil {
				t.Fatal(err)
			}
			c.SetReadDeadline(time.Now().Add(10 * time.Second))
			if n, err := c.Read(make([]byte, 8)); n != 1 || err != nil {
				t.Fatalf("the next generation reads %d bytes: %v", n, err)
			}
		}
		c.Close()
		client.Close()
		w.from.Close()
	}
}

func TestALeaveThatComesTooLateDoesNotCutTheRequestOff(t *testing.T) {
	t.Parallel()
	w := newWaitingRoom(t, 0)
	client := enters(t, w.lobby, w.from)
	g := w.conns.all()[0].(*guest)
	write(t, client, "h")
	c := until(t, w.served, "the guest")
	defer c.Close()
	g.leave()
	g.Close()
	if n, err := c.Read(make([]byte, 8)); n != 1 || err != nil {
		t.Errorf("the server reads %d bytes: %v", n, err)
	}
}

func TestAGenerationThatDrainsAnswersTheGuestsInItsLobby(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{DrainTimeout: time.Hour})
	_, srv := answering("hello")
	ln := listenLocal(t, u)
	end := served(t, u, Serve(srv, ln))
	l := ln.(*listener)
	inner := gated(t, "tcp", gateOpen) // they come from elsewhere
	one, two := enters(t, l.lobby, inner), enters(t, l.lobby, inner)
	handOver(u)
	until(t, srv.Handler.(*httpDrain).began.Done(), "the drain")
	for _, c := range []*rawClient{one, two} {
		c.send(t)
		if text, last := c.answer(t); text != "hello" || !last {
			t.Errorf("got %q, last: %v", text, last)
		}
	}
	if err := until(t, end, "the end of Run"); err != nil {
		t.Error(err)
	}
}

func TestAServiceThatStopsDismissesTheGuestsInItsLobby(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{DrainTimeout: time.Hour})
	_, srv := answering("hello")
	ln := listenLocal(t, u)
	end := served(t, u, Serve(srv, ln))
	l := ln.(*listener)
	inner := gated(t, "tcp", gateOpen)
	silent, late := enters(t, l.lobby, inner), enters(t, l.lobby, inner)
	u.Stop()
	until(t, srv.Handler.(*httpDrain).began.Done(), "the drain")
	late.send(t)
	if text, last := late.answer(t); text != "hello" || !last {
		t.Errorf("within the patience: %q, last: %v", text, last)
	}
	if _, err := silent.r.ReadByte(); err != io.EOF {
		t.Errorf("the silent guest reads %v, want %v", err, io.EOF)
	}
	if err := until(t, end, "the end of Run"); err != nil {
		t.Error(err)
	}
}

func TestAConnectionThatComesAfterShutdownIsClosedAndHoldsNothingUp(t *testing.T) {
	t.Parallel()
	_, srv := answering("hello")
	d := drainOf(srv)
	srv.Shutdown(context.Background())
	l := gated(t, "tcp", gateOpen)
	client := rawDial(t, l)
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); d.serveLate(c, nil, wait{}) }()
	until(t, done, "the end of it")
	if _, err := client.r.ReadByte(); err != io.EOF {
		t.Errorf("the client reads %v, want %v", err, io.EOF)
	}
	if n := d.conns.len(); n != 0 {
		t.Errorf("%d connections are counted", n)
	}
}
