package inspect

import (
	"maps"
	"slices"
	"testing"
)

// As Linux 6.18 writes them on a little-endian machine.
const (
	tcp = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0        0 100 3 00000000385981fe 100 0 0 10 0
   1: 0100007F:1F90 0200007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 101 1 00000000a18f24d6 100 0 0 10 0
   2: 0100007F:1F90 0200007F:C351 08 00000000:00000000 00:00000000 00000000     0        0 102 1 00000000a18f24d6 100 0 0 10 0
   3: 0100007F:1F90 0200007F:C352 06 00000000:00000000 00:00000000 00000000     0        0 0 1 00000000a18f24d6 100 0 0 10 0
   4: broken
`
	tcp6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 110 1 0 100 0 0 10 0
   1: 0000000000000000FFFF00000100007F:0050 0000000000000000FFFF00000200007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0
`
	udp = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  5: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 120 2 0 0
  6: 0100007F:C000 0100007F:0035 01 00000000:00000000 00:00000000 00000000     0        0 121 2 0 0
`
	unixText = `Num       RefCount Protocol Flags    Type St Inode Path
000000002a5ec42f: 00000002 00000000 00010000 0001 01 130 /run/a b 130 c.sock
00000000f3528c09: 00000003 00000000 00000000 0001 03 131 /run/a b 130 c.sock
000000005c74c8e8: 00000003 00000000 00000000 0001 03 132
00000000d8cd9269: 00000002 00000000 00000000 0002 01 133 @log
00000000d8cd9270: 00000002 00000000 00010000 0005 01 134 /run/q
00000000d8cd9271: 00000002 00000000 00000000 0002 01 135
`
)

func TestTheKernelsTablesAreRead(t *testing.T) {
	t.Parallel()
	if addr, _ := hexAddress("0100007F:0001"); addr.Addr().String() != "127.0.0.1" {
		t.Skip("the texts are of a little-endian machine")
	}
	got := map[string]Socket{}
	readIP(got, tcp, false)
	readIP(got, tcp6, false)
	readIP(got, udp, true)
	readUnix(got, unixText)
	want := map[string]Socket{
		"100": {"TCP listener", "127.0.0.1:8080", "", "listening", 3},
		"101": {"connected TCP socket", "127.0.0.1:8080", "127.0.0.2:50000", "connected", 0},
		"102": {"connected TCP socket", "127.0.0.1:8080", "127.0.0.2:50001", "close-wait", 0},
		"110": {"TCP listener", "[::1]:80", "", "listening", 0},
		"111": {"connected TCP socket", "127.0.0.1:80", "127.0.0.2:50000", "connected", 0},
		"120": {"UDP socket", "0.0.0.0:53", "", "bound", 0},
		"121": {"UDP socket", "127.0.0.1:49152", "127.0.0.1:53", "connected", 0},
		"130": {"unix stream listener", "/run/a b 130 c.sock", "", "listening", 0},
		"131": {"connected unix stream socket", "/run/a b 130 c.sock", "", "connected", 0},
		"132": {"connected unix stream socket", "", "", "connected", 0},
		"133": {"unix datagram socket", "@log", "", "bound", 0},
		"134": {"unix seqpacket listener", "/run/q", "", "listening", 0},
		"135": {"unix datagram socket", "", "", "unconnected", 0},
	}
	if !maps.Equal(got, want) {
		for inode := range want {
			if got[inode] != want[inode] {
				t.Errorf("%s: %+v, want %+v", inode, got[inode], want[inode])
			}
		}
		t.Errorf("%d sockets, want %d", len(got), len(want))
	}
}

func TestTheFlagsOfADescriptorAreRead(t *testing.T) {
	t.Parallel()
	if nonblock != 0o4000 || cloexec != 0o2000000 {
		t.Skip("this machine has other numbers")
	}
	for text, want := range map[string][]string{
		"pos:\t0\nflags:\t02004002\nmnt_id:\t10\n": {"nonblocking", "close-on-exec"},
		"flags:\t02\n":      nil,
		"flags:\t02000002":  {"close-on-exec"},
		"pos:\t0\n":         nil,
		"flags:\tnumbers\n": {"flags numbers"},
	} {
		if got := flagsOf(text); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestTheRelationIsToldByAgeProgramAndParent(t *testing.T) {
	t.Parallel()
	const app, other = "/usr/bin/app", "/usr/bin/other"
	systemd := facts{pid: 1, started: 1, executable: "/lib/systemd/systemd", manager: true}
	first := facts{pid: 10, parent: 1, started: 100, executable: app, own: true}
	for name, test := range map[string]struct {
		p, other facts
		want     Relation
		back     Relation
	}{
		"a manager":                  {first, systemd, Holder, Held},
		"a sibling":                  {first, facts{pid: 20, parent: 1, started: 200, executable: app, own: true}, Successor, Predecessor},
		"a sibling of another path":  {first, facts{pid: 20, parent: 1, started: 200, executable: other, own: true}, Successor, Predecessor},
		"a child of the same":        {first, facts{pid: 20, parent: 10, started: 200, executable: app, own: true}, Successor, Predecessor},
		"an orphan of the same":      {first, facts{pid: 20, parent: 7, started: 200, executable: app, own: true}, Successor, Predecessor},
		"a forked child":             {first, facts{pid: 20, parent: 10, started: 200, executable: app}, Worker, Parent},
		"a child of another program": {first, facts{pid: 20, parent: 10, started: 200, executable: other, own: true}, Held, Holder},
		"in one tick":                {first, facts{pid: 20, parent: 1, started: 100, executable: app, own: true}, Successor, Predecessor},
		"a stranger":                 {first, facts{pid: 20, parent: 7, started: 200, executable: other}, Sharer, Sharer},
	} {
		if got := relation(test.p, test.other); got != test.want {
			t.Errorf("%s is a %s, want %s", name, got, test.want)
		}
		if got := relation(test.other, test.p); got != test.back {
			t.Errorf("for %s the first is a %s, want %s", name, got, test.back)
		}
	}
}
