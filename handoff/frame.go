package handoff

import (
	"net"
	"net/netip"
)

// A frame is a datagram on its way to another generation: the kind of the sender's
// address, the address's length, the address, and what it sent.
const (
	frameNobody = iota // a unix socket without a name
	frameUDP           // netip.AddrPort's binary form
	frameUnix          // a path
)

// maxFrame is more than the longest datagram of IP (64 KiB) with its address.
const maxFrame = 2 + 255 + 64<<10

// appendFrame appends the frame of a datagram to b; false if the address is of
// no kind that can be sent.
func appendFrame(b []byte, datagram []byte, from net.Addr) ([]byte, bool) {
	start := len(b)
	switch a := from.(type) {
	case nil:
		b = append(b, frameNobody, 0)
	case *net.UDPAddr:
		var err error
		if b, err = a.AddrPort().AppendBinary(append(b, frameUDP, 0)); err != nil {
			return b, false
		}
	case *net.UnixAddr:
		if a == nil {
			b = append(b, frameNobody, 0)
			break
		}
		b = append(append(b, frameUnix, 0), a.Name...)
	default:
		return b, false
	}
	length := len(b) - start - 2
	if length > 255 {
		return b, false
	}
	b[start+1] = byte(length)
	return append(b, datagram...), true
}

// openFrame takes a frame apart. The result shares nothing with it. Whatever is no
// frame is dropped.
func openFrame(f []byte) (d parcel, ok bool) {
	if len(f) < 2 || len(f) < 2+int(f[1]) {
		return d, false
	}
	kind, address, data := f[0], f[2:2+int(f[1])], f[2+int(f[1]):]
	switch kind {
	case frameNobody:
		if len(address) > 0 {
			return d, false
		}
	case frameUDP:
		var a netip.AddrPort
		if a.UnmarshalBinary(address) != nil || !a.IsValid() {
			return d, false
		}
		d.from = net.UDPAddrFromAddrPort(a)
	case frameUnix:
		d.from = &net.UnixAddr{Net: "unixgram", Name: string(address)}
	default:
		return d, false
	}
	d.data = append([]byte(nil), data...)
	return d, true
}
