package link

import (
	"errors"
	"io"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"
)

// It does not run in parallel, for it takes the process's descriptors away.
func TestAReceiverThatMayHaveNoMoreDescriptorsGetsTheFirstConnections(t *testing.T) {
	a, b := pair(t)
	r, w := pipe(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	next := uint64(null.Fd())
	null.Close()
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	limit := func(n uint64) {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: was.Max}); err != nil {
			t.Fatal(err)
		}
	}
	defer limit(was.Cur)
	for _, kind := range []Kind{KindConnections, KindElder} {
		if err := a.Send(wait, kind, Connections{First: 1}, slices.Repeat([]syscall.Conn{w}, 100)...); err != nil {
			t.Fatal(err)
		}
	}
	limit(next + 3)
	m, err := b.Receive()
	limit(was.Cur)
	if err != nil || len(m.Sockets) < 3 || len(m.Sockets) == 100 {
		t.Errorf("%d of 100 connections came: %v", len(m.Sockets), err)
	}
	m.Close()
	limit(next + 3)
	_, err = b.Receive()
	limit(was.Cur)
	if !errors.Is(err, ErrProtocol) {
		t.Errorf("files that did not all come: %v, want %v", err, ErrProtocol)
	}
	w.Close()
	r.SetReadDeadline(time.Now().Add(wait))
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("what came is open somewhere: %v", err)
	}
}
