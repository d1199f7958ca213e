//go:build unix

package handoff

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

// generationAt returns a generation that is ready, with a listener called chat.
func generationAt(t *testing.T, network string) (*Upgrader, net.Listener) {
	t.Helper()
	u := newUpgrader(t, Options{})
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	ln, err := u.Listen("chat", network, address)
	if err == nil {
		err = u.Ready()
	}
	if err != nil {
		t.Fatal(err)
	}
	return u, ln
}

// linked makes the older generation one that has handed over to the newer.
func linked(t *testing.T, older, newer *Upgrader) (r *relative, ours *link.Conn) {
	t.Helper()
	ours, file, err := link.Pair()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := link.OpenFile(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	s := &successor{link: ours, mover: newMover(ours, underWay, nil), porter: newMover(ours, withState, (*emigrant).stay), ended: make(chan struct{})}
	older.mu.Lock()
	older.porter = s.porter
	older.mu.Unlock()
	r = &relative{conn: theirs}
	if newer != nil {
		newer.in(func() { newer.family.elders = append(newer.family.elders, r) })
		go newer.followRelative(r)
	}
	go older.followSuccessor(s)
	return r, ours
}

// accepted returns both ends of a connection to ln.
func accepted(t *testing.T, ln net.Listener) (client, conn net.Conn) {
	t.Helper()
	client = dialTo(t, ln)
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return client, conn
}

// mustReach fails the test unless what is written at one end is read at the other.
func mustReach(t *testing.T, from, to net.Conn) {
	t.Helper()
	to.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 5)
	if _, err := from.Write([]byte("hello")); err != nil {
		t.Error(err)
	} else if _, err := io.ReadFull(to, buf); err != nil || string(buf) != "hello" {
		t.Errorf("read %q, %v", buf, err)
	}
}

func TestAConnectionComesOutOfTheSuccessorsAcceptWithItsState(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp", "unix"} {
		for name, size := range map[string]int{"Empty": 0, "Small": 100, "Large": inMessage + 1, "Largest": MaxMoveState} {
			t.Run(network+name, func(t *testing.T) {
				t.Parallel()
				older, from := generationAt(t, network)
				newer, to := generationAt(t, network)
				linked(t, older, newer)
				conns, _ := accepting(to)
				client, conn := accepted(t, from)
				state := bytes.Repeat([]byte{1, 2, 3, 'x', '\n'}, size/5+1)[:size]
				if err := older.Move(t.Context(), from, conn, state); err != nil {
					t.Fatal(err)
				}
				if _, err := conn.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
					t.Errorf("writing to it in the old generation: %v, want %v", err, net.ErrClosed)
				}
				moved := until(t, conns, "the connection")
				defer moved.Close()
				if got, ok := StateOf(moved); !ok || !bytes.Equal(got, state) {
					t.Errorf("its state has %d bytes, %v, want %d", len(got), ok, size)
				}
				if _, ok := StateOf(moved); ok {
					t.Error("its state is there for a second time")
				}
				mustReach(t, client, moved)
				mustReach(t, moved, client)
				dialTo(t, to)
				if _, ok := StateOf(until(t, conns, "a new connection")); ok {
					t.Error("a new connection has a state")
				}
			})
		}
	}
}

func TestAConnectionStaysWithItsOwnerIf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		want error
		ends func(t *testing.T, older *Upgrader) // after it, Move returns
	}{
		{"ThereIsNoSuccessor", ErrNoSuccessor, func(*testing.T, *Upgrader) {}},
		{"TheSuccessorDies", ErrNotTaken, func(t *testing.T, older *Upgrader) {
			r, _ := linked(t, older, nil)
			go func() {
				m, _ := r.conn.Receive()
				m.Close()
				r.conn.Close()
			}()
		}},
		{"TheSuccessorHasNoSuchListener", ErrNotTaken, func(t *testing.T, older *Upgrader) {
			newer := newUpgrader(t, Options{})
			listenLocal(t, newer)
			linked(t, older, newer)
		}},
		{"TheSuccessorClosesItsListener", ErrNotTaken, func(t *testing.T, older *Upgrader) {
			newer, to := generationAt(t, "tcp")
			to.Close()
			linked(t, older, newer)
		}},
		{"TheSuccessorDoesNotAccept", ErrNotTaken, func(t *testing.T, older *Upgrader) {
			newer, _ := generationAt(t, "tcp")
			linked(t, older, newer)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			older, from := generationAt(t, "tcp")
			client, conn := accepted(t, from)
			c.ends(t, older)
			if err := older.Move(t.Context(), from, conn, []byte("state")); !errors.Is(err, c.want) {
				t.Fatalf("Move: %v, want %v", err, c.want)
			}
			mustReach(t, client, conn)
			mustReach(t, conn, client)
		})
	}
}

func TestAMoveThatCanNotBeIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	older, from := generationAt(t, "tcp")
	newer, _ := generationAt(t, "tcp")
	linked(t, older, newer)
	client, conn := accepted(t, from)
	one, other := net.Pipe()
	defer one.Close()
	defer other.Close()
	foreign, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	packet, err := net.Dial("udp", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer packet.Close()
	for what, err := range map[string]error{
		"a pipe":                  older.Move(t.Context(), from, one, nil),
		"a datagram socket":       older.Move(t.Context(), from, packet, nil),
		"a stranger's listener":   older.Move(t.Context(), foreign, conn, nil),
		"another one's listener":  newer.Move(t.Context(), from, conn, nil),
		"more state than allowed": older.Move(t.Context(), from, conn, make([]byte, MaxMoveState+1)),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	mustReach(t, client, conn)
}

func TestTheEndOfItsContextEndsAConnectionThatNobodyHasTaken(t *testing.T) {
	t.Parallel()
	older, from := generationAt(t, "tcp")
	r, _ := linked(t, older, nil) // who answers nothing
	client, conn := accepted(t, from)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	moved := make(chan error, 1)
	go func() { moved <- older.Move(ctx, from, conn, nil) }()
	m, err := r.conn.Receive()
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	cancel(cause)
	if err := until(t, moved, "the end of Move"); !errors.Is(err, cause) {
		t.Errorf("Move: %v, want %v", err, cause)
	}
	client.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client reads %v, want %v", err, io.EOF)
	}
	if n := len(older.currentPorter().room); n != 0 {
		t.Errorf("%d places are still taken", n)
	}
}

func TestAConnectionOnItsWayFollowsTheLinkToTheNextGeneration(t *testing.T) {
	t.Parallel()
	first, from := generationAt(t, "tcp")
	second, _ := generationAt(t, "tcp") // which doesn't accept
	third, to := generationAt(t, "tcp")
	r, _ := linked(t, first, second)
	linked(t, second, third)
	client, conn := accepted(t, from)
	moved := make(chan error, 1)
	go func() { moved <- first.Move(t.Context(), from, conn, []byte("state")) }()
	hall := &second.halls()[0].hall
	for waiting := 0; waiting == 0; time.Sleep(time.Millisecond) {
		hall.mu.Lock()
		waiting = len(hall.waiting)
		hall.mu.Unlock()
	}
	second.in(func() {
		second.successor = &successor{link: second.currentPorter().link, moves: true, stateful: true}
		second.passOn(r)
	})
	conns, _ := accepting(to)
	c := until(t, conns, "the connection")
	defer c.Close()
	if err := until(t, moved, "the end of Move"); err != nil {
		t.Error(err)
	}
	if state, _ := StateOf(c); string(state) != "state" {
		t.Errorf("its state is %q", state)
	}
	mustReach(t, client, c)
	// And the third knows whom it still has to wait for.
	settled := third.Settled(to)
	first.MovedAll(from)
	select {
	case <-settled:
		t.Error("settled, though the second is still there")
	case <-time.After(10 * time.Millisecond):
	}
}

func TestSettledWaitsForAllThatOlderGenerationsMove(t *testing.T) {
	t.Parallel()
	older, from := generationAt(t, "tcp")
	newer, to := generationAt(t, "tcp")
	// The same place, as it is after an upgrade.
	to.(*listener).socketListener = at{to.(*listener).socketListener, from.Addr()}
	linked(t, older, newer)
	settled := newer.Settled(to)
	isSettled := func() bool {
		newer.in(func() {}) // what was posted before is done
		select {
		case <-settled:
			return true
		default:
			return false
		}
	}
	_, conn := accepted(t, from)
	got := make(chan net.Conn)
	go func() {
		c, err := to.Accept()
		if err != nil {
			t.Error(err)
		}
		got <- c
	}()
	if err := older.Move(t.Context(), from, conn, nil); err != nil {
		t.Fatal(err)
	}
	defer until(t, got, "the connection").Close()
	if isSettled() {
		t.Fatal("settled before the old generation said so")
	}
	older.MovedAll(from)
	noted := func() (n int) {
		newer.in(func() {
			for _, e := range newer.family.elders {
				n += len(e.Settled)
			}
		})
		return n
	}
	for noted() == 0 {
		time.Sleep(time.Millisecond)
	}
	if isSettled() {
		t.Fatal("settled before the program has come back to Accept")
	}
	accepting(to)
	until(t, settled, "the settlement")
	// Others' listeners, and those who have no older generation, wait for nothing.
	until(t, older.Settled(from), "the first generation's settlement")
	until(t, older.Settled(to), "a stranger's settlement")
}

// at is a listener that says to be elsewhere.
type at struct {
	socketListener
	addr net.Addr
}

func (a at) Addr() net.Addr { return a.addr }

func TestSettledComesWithTheEndOfTheOlderGeneration(t *testing.T) {
	t.Parallel()
	older, _ := generationAt(t, "tcp")
	newer, to := generationAt(t, "tcp")
	_, ours := linked(t, older, newer)
	settled := newer.Settled(to)
	newer.in(func() {})
	select {
	case <-settled:
		t.Fatal("settled while the old generation lives")
	default:
	}
	ours.Close()
	until(t, settled, "the settlement")
}

func TestAStateThatNobodyAsksForIsForgotten(t *testing.T) {
	t.Parallel()
	l := gated(t, "tcp", gateOpen)
	dialTo(t, l)
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	key := weakly(conn)
	rememberState(conn, []byte("state"))
	conn.Close()
	conn = nil
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		runtime.GC()
		if _, ok := movedStates.Load(key); !ok {
			return
		}
		if time.Now().After(end) {
			t.Fatal("it is still there")
		}
	}
}

func TestAConnectionWhoseMessageIsWrongIsNotTaken(t *testing.T) {
	t.Parallel()
	u, ln := generationAt(t, "tcp")
	client, conn := accepted(t, ln)
	socket := conn.(*net.TCPConn)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	regular, err := os.Create(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	defer regular.Close()
	if _, err := regular.WriteString("four"); err != nil {
		t.Fatal(err)
	}
	ours, file, err := link.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	theirs, err := link.OpenFile(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	go u.followRelative(&relative{conn: theirs})
	send := func(body link.Move, files ...syscall.Conn) {
		t.Helper()
		body.Name, body.ID = "chat", body.ID+1
		if err := ours.Send(linkWait, link.KindMove, body, files...); err != nil {
			t.Fatal(err)
		}
		ours.SetReadDeadline(time.Now().Add(10 * time.Second))
		m, err := ours.Receive()
		var answer link.Moved
		if err != nil || m.Kind != link.KindMoved || m.Decode(&answer) != nil || answer.Taken || answer.ID != body.ID {
			t.Errorf("%+v with %d files: answered %+v, %v", body, len(files), answer, err)
		}
	}
	send(link.Move{})
	send(link.Move{}, r)
	send(link.Move{}, regular)
	send(link.Move{}, socket, socket)
	send(link.Move{Size: 4}, socket)
	send(link.Move{Size: 5}, socket, regular)
	send(link.Move{Size: -1}, socket, regular)
	send(link.Move{Size: 4}, socket, r)
	send(link.Move{Size: 1 << 62}, socket, regular)
	send(link.Move{Size: MaxMoveState + 1}, socket, regular)
	mustReach(t, client, conn) // and it was not disturbed
}
