package handoff

import (
	"context"
	"net"
	"path/filepath"
	"testing"
)

func TestTwoWaysToWriteAnAddressAreOne(t *testing.T) {
	t.Parallel()
	abs, err := filepath.Abs("run/app.sock")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		network, a, b string
		same          bool
	}{
		{"tcp", ":80", "0.0.0.0:80", true},
		{"tcp", ":80", "[::]:80", true},
		{"tcp", ":80", "[::ffff:0.0.0.0]:80", true},
		{"tcp", ":80", ":http", true},
		{"udp", ":53", ":domain", true},
		{"tcp", "127.0.0.1:80", "[::ffff:127.0.0.1]:80", true},
		{"tcp", "localhost:80", "127.0.0.1:80", true},
		{"tcp", "[::1]:80", "[0:0::1]:80", true},
		{"tcp", ":80", ":81", false},
		{"tcp", ":80", "127.0.0.1:80", false},
		{"tcp", "127.0.0.1:80", "127.0.0.2:80", false},
		{"tcp", "127.0.0.1:80", "[::1]:80", false},
		{"unix", "run/app.sock", "./run/../run/app.sock", true},
		{"unix", "run/app.sock", abs, true},
		{"unix", "run/app.sock", "run/other.sock", false},
		{"unix", "@app", "\x00app", true},
		{"unix", "@app", "@./app", false},
		{"unix", "@app", "app", false},
	} {
		a, b := requested(context.Background(), tc.network, tc.a), requested(context.Background(), tc.network, tc.b)
		if !a.specific() || !b.specific() || (a == b) != tc.same {
			t.Errorf("%s: %q is %+v and %q is %+v", tc.network, tc.a, a, tc.b, b)
		}
	}
	ctx := context.Background()
	if requested(ctx, "tcp", ":80") == requested(ctx, "udp", ":80") || requested(ctx, "unix", "/a") == requested(ctx, "unixgram", "/a") {
		t.Error("two protocols are one")
	}
	if requested(ctx, "tcp4", ":80") != requested(ctx, "tcp", ":80") {
		t.Error("tcp4 is a protocol of its own")
	}
}

func TestANameIsTheAddressOfItsFamily(t *testing.T) {
	t.Parallel()
	if _, err := net.ResolveTCPAddr("tcp6", "localhost:80"); err != nil {
		t.Skipf("localhost has no IPv6 address here: %v", err)
	}
	ctx := context.Background()
	if got := requested(ctx, "tcp6", "localhost:80"); got != requested(ctx, "tcp", "[::1]:80") {
		t.Errorf("localhost is %+v in tcp6", got)
	}
}

func TestAnAddressThatStandsForAnySocketNamesNone(t *testing.T) {
	t.Parallel()
	for _, tc := range [][2]string{
		{"tcp", ":0"}, {"tcp", "127.0.0.1:0"}, {"tcp", ""}, {"tcp", "80"}, {"tcp", ":nosuchservice"},
		{"tcp", "no such host:80"}, {"unix", ""},
	} {
		if e := requested(context.Background(), tc[0], tc[1]); e.specific() {
			t.Errorf("%q is %+v", tc, e)
		}
	}
}

func TestASocketsAddressIsTheOneThatWasAskedFor(t *testing.T) {
	t.Parallel()
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "tcp4": ":0", "udp": "127.0.0.1:0"} {
		var addr net.Addr
		if network == "udp" {
			c, err := net.ListenPacket(network, address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			addr = c.LocalAddr()
		} else {
			ln, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			addr = ln.Addr()
		}
		if b := bound(addr); b != requested(context.Background(), network, addr.String()) || !b.specific() {
			t.Errorf("%s on %v is %+v", network, addr, b)
		}
	}
	if bound(nil).specific() {
		t.Error("no address is specific")
	}
}
