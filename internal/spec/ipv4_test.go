//go:build unix

package spec

import (
	"context"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAnIPv4AddressIsAnIPv4Socket(t *testing.T) {
	t.Parallel()
	for text, family := range map[string]int{
		"0.0.0.0:0":                unix.AF_INET,
		"http::0.0.0.0:0":          unix.AF_INET,
		"udp::0.0.0.0:0":           unix.AF_INET,
		"[::ffff:0.0.0.0]:0":       unix.AF_INET,
		"0.0.0.0:0?reuseport":      unix.AF_INET,
		"udp::0.0.0.0:0?reuseport": unix.AF_INET,
		"0.0.0.0:0?backlog=7":      unix.AF_INET,
		"127.0.0.1:0":              unix.AF_INET,
		"[::]:0":                   unix.AF_INET6,
		"udp::[::]:0":              unix.AF_INET6,
		"0":                        unix.AF_INET6,
	} {
		s, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		sockets, err := Open(context.Background(), []Spec{s})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		defer sockets[0].Close()
		raw, err := sockets[0].Conn.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		_ = raw.Control(func(fd uintptr) {
			at, err := unix.Getsockname(int(fd))
			got := unix.AF_INET6
			if _, four := at.(*unix.SockaddrInet4); four {
				got = unix.AF_INET
			}
			if err != nil || got != family {
				t.Errorf("%s is bound to %T (%v), want the family %d", text, at, err, family)
			}
		})
	}
}

func TestBothVersionsOfIPCanHaveASocketEach(t *testing.T) {
	t.Parallel()
	open := func(text string) *Socket {
		t.Helper()
		s, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		sockets, err := Open(context.Background(), []Spec{s})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { sockets[0].Close() })
		return sockets[0]
	}
	var port int
	four := open("0.0.0.0:0")
	if _, err := fmt.Sscanf(four.Addr.String(), "0.0.0.0:%d", &port); err != nil {
		t.Fatalf("%v is no IPv4 address", four.Addr)
	}
	open(fmt.Sprintf("[::]:%d?v6only", port))
}

func TestAnIPv4AddressInIPv6IsNotOfIPv6Alone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"0.0.0.0:80?v6only", "[::ffff:127.0.0.1]:80?v6only"} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}
