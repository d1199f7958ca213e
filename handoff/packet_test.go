//go:build unix

package handoff

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// gatedPacket returns a datagram socket as Upgrader.ListenPacket makes it, and
// one that sends to it.
func gatedPacket(t *testing.T, network string, state gateState) (net.PacketConn, *packetGate, net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	var from net.Addr
	if network == "unixgram" {
		dir := t.TempDir()
		address = filepath.Join(dir, "s")
		from = &net.UnixAddr{Net: network, Name: filepath.Join(dir, "client")}
	}
	inner, err := net.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	c, g := newPacketConn(inner.(socketPacket), state)
	t.Cleanup(func() { c.Close() })
	client, err := (&net.Dialer{LocalAddr: from}).Dial(network, inner.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return c, g, client
}

// reads are all the ways to read from a gated datagram socket. Each returns
// what it read.
func reads(c net.PacketConn) map[string]func() (string, error) {
	b, oob := make([]byte, 100), make([]byte, 100)
	text := func(n int, err error) (string, error) { return string(b[:max(n, 0)]), err }
	all := map[string]func() (string, error){
		"Read":     func() (string, error) { return text(c.(net.Conn).Read(b)) },
		"ReadFrom": func() (string, error) { n, _, err := c.ReadFrom(b); return text(n, err) },
	}
	switch c := c.(type) {
	case *udpConn:
		all["ReadFromUDP"] = func() (string, error) { n, _, err := c.ReadFromUDP(b); return text(n, err) }
		all["ReadFromUDPAddrPort"] = func() (string, error) { n, _, err := c.ReadFromUDPAddrPort(b); return text(n, err) }
		all["ReadMsgUDP"] = func() (string, error) { n, _, _, _, err := c.ReadMsgUDP(b, oob); return text(n, err) }
		all["ReadMsgUDPAddrPort"] = func() (string, error) { n, _, _, _, err := c.ReadMsgUDPAddrPort(b, oob); return text(n, err) }
	case *unixPacketConn:
		all["ReadFromUnix"] = func() (string, error) { n, _, err := c.ReadFromUnix(b); return text(n, err) }
		all["ReadMsgUnix"] = func() (string, error) { n, _, _, _, err := c.ReadMsgUnix(b, oob); return text(n, err) }
	}
	return all
}

func TestEveryReadOfADatagramSocketIsGated(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"udp", "unixgram"} {
		c, g, client := gatedPacket(t, network, gateOpen)
		type result struct {
			text string
			err  error
		}
		for name, read := range reads(c) {
			got := make(chan result, 1)
			g.gate.set(gatePaused)
			if _, err := client.Write([]byte(name)); err != nil {
				t.Fatal(err)
			}
			go func() {
				text, err := read()
				got <- result{text, err}
			}()
			select {
			case r := <-got:
				t.Errorf("%s %s returned %q, %v at a paused gate", network, name, r.text, r.err)
				continue
			case <-time.After(5 * time.Millisecond):
			}
			g.gate.set(gateOpen)
			if r := <-got; r.text != name || r.err != nil {
				t.Errorf("%s %s: got %q, %v", network, name, r.text, r.err)
			}
		}
		if err := g.end(); err != nil {
			t.Fatal(err)
		}
		for name, read := range reads(c) {
			if _, err := read(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s %s after the end: %v, want %v", network, name, err, net.ErrClosed)
			}
		}
	}
}

// A new method of Go's that reads must not pass by the gate unnoticed.
func TestNoReadOfTheNetPackageIsForgotten(t *testing.T) {
	t.Parallel()
	udp, _, _ := gatedPacket(t, "udp", gateOpen)
	unixgram, _, _ := gatedPacket(t, "unixgram", gateOpen)
	for _, c := range []net.PacketConn{udp, unixgram} {
		known := reads(c)
		typ := reflect.TypeOf(c)
		for i := range typ.NumMethod() {
			name := typ.Method(i).Name
			if _, ok := known[name]; !ok && strings.HasPrefix(name, "Read") {
				t.Errorf("%v has a method %s that isn't gated", typ, name)
			}
		}
	}
}

func TestAPausedDatagramSocketLeavesDatagramsToOthers(t *testing.T) {
	t.Parallel()
	c, g, client := gatedPacket(t, "udp", gateOpen)
	g.gate.set(gatePaused)
	end := make(chan error, 1)
	go func() { _, _, err := c.ReadFrom(make([]byte, 10)); end <- err }()
	other, err := dupFile(File{Conn: c.(syscall.Conn)})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	successor, err := net.FilePacketConn(other)
	if err != nil {
		t.Fatal(err)
	}
	defer successor.Close()
	successor.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 10)
	if n, _, err := successor.ReadFrom(b); err != nil || string(b[:n]) != "x" {
		t.Errorf("the other holder of the socket read %q, %v", b[:n], err)
	}
	g.end()
	if err := <-end; !errors.Is(err, net.ErrClosed) {
		t.Errorf("ReadFrom: %v, want %v", err, net.ErrClosed)
	}
}

func TestAnswersCanBeSentAfterTheEndOfReading(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"udp", "unixgram"} {
		c, g, client := gatedPacket(t, network, gateOpen)
		if _, err := client.Write([]byte("question")); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		_, from, err := c.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		g.end()
		if err := c.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Error(err)
		}
		if _, err := c.WriteTo([]byte("answer"), from); err != nil {
			t.Errorf("%s: %v", network, err)
		}
		client.SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, err := client.Read(b); err != nil || string(b[:n]) != "answer" {
			t.Errorf("%s: the client got %q, %v", network, b[:n], err)
		}
		c.Close()
		if _, err := c.WriteTo([]byte("answer"), from); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: writing after Close: %v, want %v", network, err, net.ErrClosed)
		}
	}
}

func TestADatagramSocketKeepsItsProgramsDeadlines(t *testing.T) {
	t.Parallel()
	for _, state := range []gateState{gateOpen, gatePaused} {
		c, g, client := gatedPacket(t, "udp", state)
		for _, set := range []func(time.Time) error{c.SetDeadline, c.SetReadDeadline} {
			if err := set(time.Now().Add(5 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.ReadFrom(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("ReadFrom: %v, want a timeout", err)
			}
			if err := set(time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
		g.gate.set(gateOpen)
		if _, err := client.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.ReadFrom(make([]byte, 1)); err != nil {
			t.Errorf("ReadFrom after the deadline was taken back: %v", err)
		}
	}
}

func TestADatagramSocketHasTheMethodsThatLibrariesLookFor(t *testing.T) {
	t.Parallel()
	c, _, _ := gatedPacket(t, "udp", gateOpen)
	if _, ok := c.(interface {
		syscall.Conn
		SetReadBuffer(int) error
		SetWriteBuffer(int) error
		ReadMsgUDP(b, oob []byte) (n, oobn, flags int, addr *net.UDPAddr, err error)
		WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error)
		WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
	}); !ok {
		t.Errorf("%T lacks some", c)
	}
}
