//go:build linux

package handoff

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// versionFD is a socket of package net's network, and its port.
func versionFD(t *testing.T, name, network string) (named, string) {
	t.Helper()
	var at net.Addr
	var c io.Closer
	if strings.HasPrefix(network, "udp") {
		p, err := net.ListenPacket(network, ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		at, c = p.LocalAddr(), p.(*net.UDPConn)
	} else {
		ln, err := net.Listen(network, ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		at, c = ln.Addr(), ln.(*net.TCPListener)
	}
	_, port, _ := net.SplitHostPort(at.String())
	return named{name, dupOf(t, c)}, port
}

func TestAnIPv4AddressIsNotOpenByIPv6(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{})
	ln, err := u.Listen("http", "tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := u.ListenPacket("dns", "udp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []net.Addr{ln.Addr(), c.LocalAddr()} {
		if !strings.HasPrefix(at.String(), "0.0.0.0:") {
			t.Errorf("bound to %v", at)
		}
	}
}

func TestAnotherVersionOfIPIsGivenOrRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		had, want string
		free      bool // the old socket is not in the way
	}{
		{"tcp4", "tcp6", true}, {"tcp6", "tcp4", true}, {"udp4", "udp6", true}, {"udp6", "udp4", true},
		{"tcp", "tcp4", false}, {"tcp", "tcp6", false}, {"tcp4", "tcp", false}, {"tcp6", "tcp", false},
		{"udp", "udp4", false}, {"udp", "udp6", false}, {"udp4", "udp", false},
	} {
		fd, port := versionFD(t, "a", tc.had)
		u := heir(t, []origin{{Ours: true, Network: tc.had, Address: ":" + port}}, fd)
		var err error
		if tc.want[:3] == "udp" {
			_, err = u.ListenPacket("a", tc.want, ":"+port)
		} else {
			_, err = u.Listen("a", tc.want, ":"+port)
		}
		if tc.free != (err == nil) || len(u.inherited.left()) != 1 {
			t.Errorf("%s, then %s: %v, and %d are left", tc.had, tc.want, err, len(u.inherited.left()))
		}
		if err != nil && (!errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "stop and start the service")) {
			t.Errorf("%s, then %s: %v", tc.had, tc.want, err)
		}
	}
}

func TestTheSameWordsGetTheSocketThatAnOlderReleaseHasOpened(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"http", "renamed"} {
		fd, port := versionFD(t, "http", "tcp")
		u := heir(t, []origin{{Ours: true, Network: "tcp", Address: "0.0.0.0:" + port}}, fd)
		var log strings.Builder
		u.log = slog.New(slog.NewTextHandler(&log, nil))
		if got := mustListen(t, u, name, "tcp", "0.0.0.0:"+port); got != "[::]:"+port {
			t.Errorf("listening on %s", got)
		}
		if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "stop and start the service once") {
			t.Errorf("the log has no warning: %s", log.String())
		}
	}
}

func TestPortZeroIsKeptForTheSameNetworkAlone(t *testing.T) {
	t.Parallel()
	fd, port := versionFD(t, "a", "tcp4")
	u := heir(t, []origin{{Ours: true, Network: "tcp4", Address: ":0"}}, fd)
	if got := mustListen(t, u, "a", "tcp6", ":0"); strings.HasPrefix(got, "0.0.0.0:") {
		t.Errorf("tcp6 is on %s", got)
	}
	if got := mustListen(t, u, "a", "tcp4", ":0"); got != "0.0.0.0:"+port {
		t.Errorf("tcp4 is on %s, want the port %s as before", got, port)
	}
}

func TestASocketFromOutsideThatServesTheNetworkIsTaken(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		had, want string
		taken     bool
	}{
		{"tcp", "tcp4", true}, {"tcp", "tcp6", true}, {"tcp4", "tcp", true}, {"tcp6", "tcp", true},
		{"tcp4", "tcp6", false}, {"tcp6", "tcp4", false},
	} {
		for _, name := range []string{"http", "unknown"} {
			fd, port := versionFD(t, name, tc.had)
			u := heir(t, nil, fd)
			if _, err := u.Listen("http", tc.want, ":"+port); err != nil {
				t.Errorf("%s, asked for as %s: %v", tc.had, tc.want, err)
			}
			if taken := len(u.inherited.left()) == 0; taken != tc.taken {
				t.Errorf("%s, called %s, asked for as %s: taken is %v", tc.had, name, tc.want, taken)
			}
		}
	}
}

func TestTheSocketOfTheRightVersionIsPreferred(t *testing.T) {
	t.Parallel()
	four, port := versionFD(t, "app.socket", "tcp4")
	six, err := net.Listen("tcp6", "[::]:"+port)
	if err != nil {
		t.Skipf("the port is taken: %v", err)
	}
	defer six.Close()
	u := heir(t, nil, named{"app.socket", dupOf(t, six.(*net.TCPListener))}, four)
	if got := mustListen(t, u, "app.socket", "tcp", "0.0.0.0:"+port); got != "0.0.0.0:"+port {
		t.Errorf("listening on %s", got)
	}
}

func TestIPV6OnlyIsReadOfTheSocket(t *testing.T) {
	t.Parallel()
	for network, want := range map[string]bool{"tcp6": true, "tcp": false, "tcp4": false} {
		fd, _ := versionFD(t, "a", network)
		if got := v6Only(fd.fd); got != want {
			t.Errorf("%s: %v", network, got)
		}
		unix.Close(fd.fd)
	}
}
