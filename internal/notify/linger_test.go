//go:build unix

package notify_test

import (
	"net"
	"testing"
	"time"
)

func TestAConnectionThatLingersHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	r := listen(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ln.Accept() // which never reads
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if err := conn.(*net.TCPConn).SetLinger(60); err != nil {
		t.Fatal(err)
	}
	conn.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	for full := error(nil); full == nil; {
		_, full = conn.Write(make([]byte, 1<<16))
	}
	file, err := conn.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	sendRaw(t, dialRaw(t, r), "X=1", int(file.Fd()))
	// In flight it lives on; the receiver's copy is to be the last.
	file.Close()
	conn.Close()
	began := time.Now()
	if m := receive(t, r); len(m.Lines) != 1 {
		t.Errorf("got %+v", m)
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
}
