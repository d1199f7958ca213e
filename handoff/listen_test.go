//go:build unix

package handoff

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// heir returns an Upgrader that has inherited descriptors, with what its
// predecessor told of them; nil: they are from outside.
func heir(t *testing.T, origins []origin, all ...named) *Upgrader {
	t.Helper()
	u := newUpgrader(t, Options{})
	u.inherited, u.origins = setOf(t, all...), origins
	return u
}

// boundTCP is a listening socket and its address.
func boundTCP(t *testing.T, name string) (named, string) {
	t.Helper()
	fd := tcpFD(t)
	_, _, addr, _ := kindOf(fd)
	return named{name, fd}, addr.String()
}

func mustListen(t *testing.T, u *Upgrader, name, network, address string) string {
	t.Helper()
	ln, err := u.Listen(name, network, address)
	if err != nil {
		t.Fatal(err)
	}
	return ln.Addr().String()
}

const local = "127.0.0.1:0"

func TestANameFromOutsideDecides(t *testing.T) {
	t.Parallel()
	http, at := boundTCP(t, "http")
	u := heir(t, nil, http)
	if got := mustListen(t, u, "http", "tcp", "127.0.0.1:1"); got != at {
		t.Errorf("listening on %s, want what was handed in on %s", got, at)
	}
}

func TestANameFromOutsideIsTakenByItsAddressFirst(t *testing.T) {
	t.Parallel()
	a, _ := boundTCP(t, "app.socket")
	b, second := boundTCP(t, "app.socket")
	u := heir(t, nil, a, b)
	if got := mustListen(t, u, "app.socket", "tcp", second); got != second {
		t.Errorf("listening on %s, want %s", got, second)
	}
}

func TestOursIsTakenByTheSameWordsAndTheSameAddress(t *testing.T) {
	t.Parallel()
	http, at := boundTCP(t, "http")
	ours := []origin{{Ours: true, Network: "tcp", Address: local}}
	if got := mustListen(t, heir(t, ours, http), "http", "tcp", local); got != at {
		t.Errorf("port 0 became %s, want %s as before", got, at)
	}
	http, at = boundTCP(t, "http")
	if got := mustListen(t, heir(t, ours, http), "http", "tcp4", at); got != at {
		t.Errorf("listening on %s, want %s", got, at)
	}
}

func TestAChangedConfigurationBindsAnew(t *testing.T) {
	t.Parallel()
	http, at := boundTCP(t, "http")
	u := heir(t, []origin{{Ours: true, Network: "tcp", Address: at}}, http)
	if got := mustListen(t, u, "http", "tcp", local); got == at {
		t.Errorf("still on %s", got)
	}
}

func TestAnyNameFindsASocketByItsAddress(t *testing.T) {
	t.Parallel()
	for _, origins := range [][]origin{nil, {{Ours: true, Network: "tcp", Address: "before"}}} {
		http, at := boundTCP(t, "unknown")
		if got := mustListen(t, heir(t, origins, http), "http", "tcp", at); got != at {
			t.Errorf("listening on %s, want %s", got, at)
		}
	}
}

func TestTwoListenersOnPortZeroStayApart(t *testing.T) {
	t.Parallel()
	a, first := boundTCP(t, "a")
	b, second := boundTCP(t, "b")
	ours := []origin{{Ours: true, Network: "tcp", Address: local}, {Ours: true, Network: "tcp", Address: local}}
	u := heir(t, ours, a, b)
	if got := mustListen(t, u, "b", "tcp", local); got != second {
		t.Errorf("b is on %s, want %s", got, second)
	}
	if got := mustListen(t, u, "c", "tcp", local); got == first || got == second {
		t.Errorf("c is on %s, which is another's", got)
	}
	if got := mustListen(t, u, "a", "tcp", local); got != first {
		t.Errorf("a is on %s, want %s", got, first)
	}
	if got := mustListen(t, u, "a", "tcp", local); got == first {
		t.Error("one socket was taken twice")
	}
}

func TestANameOfAnotherTypeIsNotTaken(t *testing.T) {
	t.Parallel()
	u := heir(t, nil, named{"dns", udpFD(t)})
	if _, err := u.Listen("dns", "tcp", local); err != nil {
		t.Fatal(err)
	}
	if _, err := u.ListenPacket("dns", "udp", local); err != nil {
		t.Fatal(err)
	}
	if len(u.inherited.left()) != 0 {
		t.Error("the datagram socket was not taken")
	}
}

func TestASocketThatIsInTheWayIsNamed(t *testing.T) {
	t.Parallel()
	old, at := boundTCP(t, "old")
	_, port, _ := net.SplitHostPort(at)
	u := heir(t, []origin{{Ours: true}}, old)
	_, err := u.Listen("new", "tcp4", ":"+port)
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), `"old"`) {
		t.Errorf("got %v, want EADDRINUSE with the name of what is there", err)
	}
}

func TestASocketOfAnotherProtocolIsNotSaidToBeInTheWay(t *testing.T) {
	t.Parallel()
	c, err := net.ListenPacket("udp", local)
	if err != nil {
		t.Fatal(err)
	}
	at := c.LocalAddr().String()
	ln, err := net.Listen("tcp", at)
	if err != nil {
		t.Skipf("the port is taken: %v", err)
	}
	defer ln.Close()
	u := heir(t, nil, named{"dns", dupOf(t, c)})
	if _, err := u.Listen("dns-tcp", "tcp", at); !errors.Is(err, syscall.EADDRINUSE) || strings.Contains(err.Error(), "inherited") {
		t.Errorf("got %v", err)
	}
}

func TestAnUnknownNetworkOrABadNameIsAnError(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{})
	var unknown net.UnknownNetworkError
	if _, err := u.Listen("a", "udp", local); !errors.As(err, &unknown) {
		t.Errorf("got %v", err)
	}
	if _, err := u.ListenPacket("a", "tcp", local); !errors.As(err, &unknown) {
		t.Errorf("got %v", err)
	}
	if _, err := u.Listen("a:b", "tcp", local); !errors.Is(err, ErrBadName) {
		t.Errorf("got %v", err)
	}
}

func TestAClosedListenerIsNotHandedOn(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{})
	kept, err := u.Listen("kept", "tcp", local)
	if err != nil {
		t.Fatal(err)
	}
	closed, err := u.Listen("closed", "unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := u.ListenPacket("packet", "udp", local)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	files, origins, err := u.exports()
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(files)
	if len(files) != 2 || files[0].Name() != "kept" || files[1].Name() != "packet" || !origins[0].Ours {
		t.Errorf("handed on: %d files, %+v", len(files), origins)
	}
	kept.Close()
	conn.Close()
}

func TestWhatIsKeptIsHandedOnUnderItsNameUntilItIsClosed(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{})
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	packets, err := net.ListenPacket("udp", local)
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	ln, err := net.Listen("tcp", local)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn := dialTo(t, ln)
	handedOn := func() string {
		t.Helper()
		files, _, err := u.exports()
		if err != nil {
			t.Fatal(err)
		}
		defer closeAll(files)
		var all []string
		for _, f := range files {
			kind, _, _, _ := kindOf(int(f.Fd()))
			all = append(all, fmt.Sprintf("%s: %v", f.Name(), kind))
		}
		return strings.Join(all, ", ")
	}
	for _, f := range []File{{"log", file}, {"dns", packets.(*net.UDPConn)}, {"backend", conn.(*net.TCPConn)}} {
		if err := u.Keep(f); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := handedOn(), "log: regular file, dns: UDP socket, backend: connected TCP socket"; got != want {
		t.Errorf("handed on: %s, want %s", got, want)
	}
	packets.Close()
	u.Forget(file)
	if got, want := handedOn(), "backend: connected TCP socket"; got != want {
		t.Errorf("after a Close and a Forget: %s, want %s", got, want)
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Errorf("a connection that is kept can't be used: %v", err)
	}
	if err := u.Keep(File{Name: "a:b", Conn: file}); !errors.Is(err, ErrBadName) {
		t.Errorf("a bad name: %v", err)
	}
}

func TestNobodyListensAtAClosedListenersAddress(t *testing.T) {
	t.Parallel()
	inherited, at := boundTCP(t, "inherited")
	u := heir(t, []origin{{Ours: true, Network: "tcp", Address: at}}, inherited)
	for name, address := range map[string]string{"inherited": at, "new": local} {
		ln, err := u.Listen(name, "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if name == "inherited" && ln.Addr().String() != at {
			t.Errorf("listening on %s, want what was inherited on %s", ln.Addr(), at)
		}
		go ln.Accept() // one that waits keeps no socket open
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
		wantClosed(t, ln.Addr())
	}
}
