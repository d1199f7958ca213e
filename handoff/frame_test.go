package handoff

import (
	"bytes"
	"net"
	"reflect"
	"strings"
	"testing"
)

func TestAFramedDatagramArrivesWithItsSender(t *testing.T) {
	t.Parallel()
	for _, from := range []net.Addr{
		&net.UDPAddr{IP: net.IPv4(192, 0, 2, 1).To4(), Port: 65535},
		&net.UDPAddr{IP: net.IPv4(192, 0, 2, 1).To16(), Port: 1}, // as a socket of both families says it
		&net.UDPAddr{IP: net.ParseIP("fe80::1"), Port: 53, Zone: "eth0"},
		&net.UnixAddr{Net: "unixgram", Name: "/run/" + strings.Repeat("x", 100)},
		&net.UnixAddr{Net: "unixgram", Name: "@abstract"},
		nil,
	} {
		for _, datagram := range []string{"", "x", strings.Repeat("x", 65507)} {
			f, ok := appendFrame(nil, []byte(datagram), from)
			if !ok || len(f) > maxFrame {
				t.Errorf("%v: a frame of %d bytes, %v", from, len(f), ok)
				continue
			}
			got, ok := openFrame(f)
			if !ok || string(got.data) != datagram || !reflect.DeepEqual(got.from, from) {
				t.Errorf("%d bytes from %#v are opened as %d bytes from %#v, %v", len(datagram), from, len(got.data), got.from, ok)
			}
		}
	}
	if f, ok := appendFrame(nil, nil, (*net.UnixAddr)(nil)); !ok || !bytes.Equal(f, []byte{frameNobody, 0}) {
		t.Errorf("a sender without a name is framed as %v, %v", f, ok)
	}
	for _, from := range []net.Addr{&net.TCPAddr{}, &net.UnixAddr{Name: strings.Repeat("x", 256)}} {
		if _, ok := appendFrame(nil, nil, from); ok {
			t.Errorf("%T was framed", from)
		}
	}
}

func TestWhatIsNoFrameIsDropped(t *testing.T) {
	t.Parallel()
	for name, f := range map[string][]byte{
		"nothing":                        {},
		"one byte":                       {0},
		"an address cut off":             {frameUDP, 6, 127, 0, 0, 1},
		"an address that is none":        {frameUDP, 3, 1, 2, 3, 'x'},
		"no address":                     {frameUDP, 0, 'x'},
		"an address where none belongs":  {frameNobody, 1, 'x', 'x'},
		"an address of an unknown kind":  {9, 1, 'x', 'x'},
		"more than there is, in a frame": {frameUnix, 255, '/'},
	} {
		if d, ok := openFrame(f); ok {
			t.Errorf("%s: taken for %+v", name, d)
		}
	}
}

func FuzzOpenFrame(f *testing.F) {
	f.Add([]byte{frameUDP, 6, 127, 0, 0, 1, 0, 53, 'x'})
	f.Add([]byte{frameUnix, 2, '/', 'a', 'x'})
	f.Add([]byte{frameNobody, 0})
	f.Fuzz(func(t *testing.T, frame []byte) {
		d, ok := openFrame(frame)
		if !ok {
			return
		}
		again, ok := appendFrame(nil, d.data, d.from)
		if !ok {
			t.Fatalf("%x was opened as %+v, which can't be framed", frame, d)
		}
		if e, ok := openFrame(again); !ok || !reflect.DeepEqual(d, e) {
			t.Errorf("%+v became %+v, %v", d, e, ok)
		}
	})
}
