package address

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
		{"tcp", ":80", "0.0.0.0:80", false},
		{"udp", ":53", "0.0.0.0:53", false},
		{"tcp", ":80", "[::]:80", true},
		{"tcp", "0.0.0.0:80", "[::ffff:0.0.0.0]:80", true},
		{"tcp4", ":80", "0.0.0.0:80", true},
		{"tcp6", ":80", "[::]:80", true},
		{"tcp", ":80", "[::%1]:80", true},
		{"tcp", "[::1]:80", "[::1%1]:80", true},
		{"tcp", "[fe80::1]:80", "[fe80::1%1]:80", false},
		{"tcp", "[fe80::1%1]:80", "[fe80::1%" + first(t) + "]:80", true},
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
		a, b := Requested(context.Background(), tc.network, tc.a), Requested(context.Background(), tc.network, tc.b)
		if !a.Specific() || !b.Specific() || (a == b) != tc.same {
			t.Errorf("%s: %q is %+v and %q is %+v", tc.network, tc.a, a, tc.b, b)
		}
	}
	ctx := context.Background()
	if Requested(ctx, "tcp", ":80") == Requested(ctx, "udp", ":80") || Requested(ctx, "unix", "/a") == Requested(ctx, "unixgram", "/a") {
		t.Error("two protocols are one")
	}
	v4, v6, both := Requested(ctx, "tcp4", ":80"), Requested(ctx, "tcp6", ":80"), Requested(ctx, "tcp", ":80")
	if v4.Versions != V4 || v6.Versions != V6 || both.Versions != Both || v4 != Requested(ctx, "tcp", "0.0.0.0:80") {
		t.Errorf("tcp4, tcp6 and tcp are %+v, %+v and %+v", v4, v6, both)
	}
}

// first is the name of the interface with the number 1: lo, most often.
func first(t *testing.T) string {
	t.Helper()
	ifi, err := net.InterfaceByIndex(1)
	if err != nil {
		return "1"
	}
	return ifi.Name
}

func TestWhatIsOpenByMoreThanWasAskedForIsTold(t *testing.T) {
	t.Parallel()
	at := func(network, address string) Endpoint { return Requested(context.Background(), network, address) }
	for _, tc := range []struct {
		have, want      Endpoint
		overlaps, wider bool
	}{
		{at("tcp", ":80"), at("tcp", "0.0.0.0:80"), true, true},
		{at("tcp", ":80"), at("tcp6", ":80"), true, true},
		{at("tcp", "0.0.0.0:80"), at("tcp", ":80"), true, false},
		{at("tcp", "0.0.0.0:80"), at("tcp6", ":80"), false, true},
		{at("tcp", ":80"), at("tcp", ":80"), true, false},
		{at("tcp", ":80"), at("udp", ":80"), false, false},
		{at("tcp", ":80"), at("tcp", ":81"), false, false},
		{at("tcp", "[::1]:80"), at("tcp", "127.0.0.1:80"), false, false},
		{at("unix", "/a"), at("unix", "/a"), true, false},
	} {
		if got := tc.have.Overlaps(tc.want); got != tc.overlaps {
			t.Errorf("%+v overlaps %+v: %v", tc.have, tc.want, got)
		}
		if got := tc.have.WiderThan(tc.want); got != tc.wider && tc.have.Family == tc.want.Family {
			t.Errorf("%+v is wider than %+v: %v", tc.have, tc.want, got)
		}
	}
}

func TestANameIsTheAddressOfItsFamily(t *testing.T) {
	t.Parallel()
	if _, err := net.ResolveTCPAddr("tcp6", "localhost:80"); err != nil {
		t.Skipf("localhost has no IPv6 address here: %v", err)
	}
	ctx := context.Background()
	if got := Requested(ctx, "tcp6", "localhost:80"); got != Requested(ctx, "tcp", "[::1]:80") {
		t.Errorf("localhost is %+v in tcp6", got)
	}
}

func TestAnAddressThatStandsForAnySocketNamesNone(t *testing.T) {
	t.Parallel()
	for _, tc := range [][2]string{
		{"tcp", ":0"}, {"tcp", "127.0.0.1:0"}, {"tcp", ""}, {"tcp", "80"}, {"tcp", ":nosuchservice"},
		{"tcp", "no such host:80"}, {"unix", ""}, {"tcp4", "[::]:80"}, {"tcp4", "[::1]:80"}, {"tcp6", "0.0.0.0:80"},
		{"tcp6", "127.0.0.1:80"}, {"tcp6", "[::ffff:127.0.0.1]:80"},
	} {
		if e := Requested(context.Background(), tc[0], tc[1]); e.Specific() {
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
		if b := Bound(addr, false); b != Requested(context.Background(), network, addr.String()) || !b.Specific() {
			t.Errorf("%s on %v is %+v", network, addr, b)
		}
	}
	if Bound(nil, false).Specific() {
		t.Error("no address is specific")
	}
}
