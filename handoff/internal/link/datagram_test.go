//go:build unix

package link

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestDatagramsGoOneWayAndKeepTheirBounds(t *testing.T) {
	t.Parallel()
	receiving, sending, err := Datagrams()
	if err != nil {
		t.Fatal(err)
	}
	defer receiving.Close()
	defer sending.Close()
	raw, err := receiving.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	check := func(fd uintptr) {
		if flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("an end is not close-on-exec: %v", err)
		}
	}
	if err := raw.Control(check); err != nil {
		t.Fatal(err)
	}
	check(sending.Fd())
	for _, want := range [][]byte{[]byte("x"), {}, bytes.Repeat([]byte("x"), 1<<16)} {
		if err := SendDatagram(sending, want); err != nil {
			t.Fatalf("%d bytes: %v", len(want), err)
		}
		got := make([]byte, 1<<17)
		if err := receiving.SetReadDeadline(time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
		if n, err := receiving.Read(got); err != nil || !bytes.Equal(got[:n], want) {
			t.Errorf("%d bytes arrived as %d, %v", len(want), n, err)
		}
	}
}

func TestADatagramThatFindsNoRoomIsLostAtOnce(t *testing.T) {
	t.Parallel()
	receiving, sending, err := Datagrams()
	if err != nil {
		t.Fatal(err)
	}
	defer sending.Close()
	datagram := make([]byte, 1400)
	full := false
	for range 100_000 {
		if err := SendDatagram(sending, datagram); errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOBUFS) {
			full = true
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if !full {
		t.Error("there is room for 100,000 datagrams")
	}
	receiving.Close()
	if err := SendDatagram(sending, datagram); err == nil || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOBUFS) {
		t.Errorf("sending to nobody: %v", err)
	}
}

func TestAHelloBringsItsInboxes(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	receiving, sending, err := Datagrams()
	if err != nil {
		t.Fatal(err)
	}
	defer receiving.Close()
	if err := a.Send(wait, KindHello, Hello{Version: Version, Inboxes: []Inbox{{Generation: 3, File: 1}}}, sending); err != nil {
		t.Fatal(err)
	}
	sending.Close()
	m := receive(t, b)
	defer m.Close()
	var hello Hello
	if err := m.Decode(&hello); err != nil || len(m.Files) != 1 || len(hello.Inboxes) != 1 || hello.Inboxes[0] != (Inbox{3, 1}) {
		t.Fatalf("got %+v with %d files, %v", hello, len(m.Files), err)
	}
	if err := SendDatagram(m.Files[0], []byte("x")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 10)
	if n, err := receiving.Read(got); err != nil || string(got[:n]) != "x" {
		t.Errorf("got %q, %v", got[:n], err)
	}
}
