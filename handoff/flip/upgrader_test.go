package flip

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/handoff"
)

// A process has one Upgrader, so the test of its life is one test.
func TestAnUpgraderLivesAsTableflipsDoes(t *testing.T) {
	upg, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		upg.Handoff().Close()
		single.made = false // for go test -count
	}()
	if _, err := New(Options{}); !errors.Is(err, ErrOnlyOne) {
		t.Errorf("a second New: %v, not ErrOnlyOne", err)
	}
	if err := upg.WaitForParent(t.Context()); upg.HasParent() || err != nil {
		t.Errorf("it was started by nobody, but HasParent is %v and WaitForParent says %v", upg.HasParent(), err)
	}
	if ln, err := upg.Listener("tcp", "127.0.0.1:0"); ln != nil || err != nil {
		t.Errorf("an inherited listener: %v, %v", ln, err)
	}
	if pc, err := upg.PacketConn("udp", "127.0.0.1:0"); pc != nil || err != nil {
		t.Errorf("an inherited packet conn: %v, %v", pc, err)
	}
	if conn, err := upg.Conn("tcp", "x"); conn != nil || err != nil {
		t.Errorf("an inherited conn: %v, %v", conn, err)
	}
	if file, err := upg.File("x"); file != nil || err != nil {
		t.Errorf("an inherited file: %v, %v", file, err)
	}
	if files, err := upg.Files(); files != nil || err != nil {
		t.Errorf("inherited files: %v, %v", files, err)
	}
	if err := upg.Upgrade(); !errors.Is(err, handoff.ErrNotReady) && !errors.Is(err, ErrNotSupported) {
		t.Errorf("Upgrade before Ready: %v", err)
	}

	closedListenerIsClosed(t, upg)
	packetConnOfACallbackWorks(t, upg)
	wrong := errors.New("no")
	if _, err := upg.ListenWithCallback("tcp", "127.0.0.1:0", func(string, string) (net.Listener, error) { return nil, wrong }); !errors.Is(err, wrong) {
		t.Errorf("the callback's error became %v", err)
	}

	ln, err := upg.ListenWithCallback("tcp", "127.0.0.1:0", net.Listen)
	if err != nil {
		t.Fatal(err)
	}
	if err := upg.Ready(); err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error, 1)
	go func() {
		_, err := ln.Accept()
		accepted <- err
	}()
	upg.Stop()
	upg.Stop()
	<-upg.Exit()
	select {
	case err := <-accepted:
		t.Errorf("Accept returns at Exit: %v", err)
	case <-time.After(50 * time.Millisecond): // so long at least it has to wait
	}
	ln.Close()
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	if err := upg.Upgrade(); !errors.Is(err, handoff.ErrStopping) {
		t.Errorf("Upgrade after Stop: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := upg.WaitForParent(ctx); err != nil {
		t.Errorf("WaitForParent without one: %v", err)
	}
}

func closedListenerIsClosed(t *testing.T, upg *Upgrader) {
	ln, err := upg.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	ln.Close()
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		t.Error("a closed listener goes on to listen")
	}
}

func packetConnOfACallbackWorks(t *testing.T, upg *Upgrader) {
	pc, err := upg.ListenPacketWithCallback("udp", "127.0.0.1:0", net.ListenPacket)
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	if _, err := pc.WriteTo([]byte("x"), pc.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	type strange struct{ net.PacketConn }
	if _, err := upg.ListenPacketWithCallback("udp", "127.0.0.1:0", func(n, a string) (net.PacketConn, error) {
		pc, err := net.ListenPacket(n, a)
		return strange{pc}, err
	}); err == nil {
		t.Error("a packet conn of a strange type is taken")
	}
}
