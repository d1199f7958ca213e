package handoff

import (
	"net"
	"net/netip"
	"syscall"
	"time"
)

// socketPacket is what *net.UDPConn and *net.UnixConn have in common.
type socketPacket interface {
	net.PacketConn
	syscall.Conn
}

// packetGate is the part of a datagram socket that its Upgrader governs: reading
// can be paused, resumed and ended, while writing goes on, for what was read
// before has still to be answered.
type packetGate struct {
	inner   socketPacket
	gate    *gate
	onClose func() // tells the Upgrader of the program's Close
}

func (p *packetGate) read(f func() error) error {
	err := p.gate.pass(f)
	if err == net.ErrClosed {
		a := p.inner.LocalAddr()
		return &net.OpError{Op: "read", Net: a.Network(), Source: a, Err: err}
	}
	return err
}

// SetReadDeadline sets the deadline of reads.
func (p *packetGate) SetReadDeadline(t time.Time) error { return p.gate.setDeadline(t) }

// SetDeadline sets the deadlines of reads and writes.
func (p *packetGate) SetDeadline(t time.Time) error {
	if err := p.gate.setDeadline(t); err != nil {
		return err
	}
	return p.inner.SetWriteDeadline(t)
}

// Close closes the socket here. It isn't handed on.
func (p *packetGate) Close() error {
	if p.onClose != nil {
		p.onClose()
	}
	p.gate.set(gateClosed)
	return p.inner.Close()
}

// end ends reading. The socket stays open for the answers to what was read.
func (p *packetGate) end() error {
	p.gate.set(gateClosed)
	return nil
}

// udpConn is a *net.UDPConn with gated reads. It keeps all of its methods, which
// libraries look for.
type udpConn struct {
	*net.UDPConn
	*packetGate
}

func (c *udpConn) Close() error                      { return c.packetGate.Close() }
func (c *udpConn) SetDeadline(t time.Time) error     { return c.packetGate.SetDeadline(t) }
func (c *udpConn) SetReadDeadline(t time.Time) error { return c.packetGate.SetReadDeadline(t) }

func (c *udpConn) Read(b []byte) (n int, err error) {
	err = c.read(func() error { n, err = c.UDPConn.Read(b); return err })
	return n, err
}

func (c *udpConn) ReadFrom(b []byte) (n int, addr net.Addr, err error) {
	err = c.read(func() error { n, addr, err = c.UDPConn.ReadFrom(b); return err })
	return n, addr, err
}

func (c *udpConn) ReadFromUDP(b []byte) (n int, addr *net.UDPAddr, err error) {
	err = c.read(func() error { n, addr, err = c.UDPConn.ReadFromUDP(b); return err })
	return n, addr, err
}

func (c *udpConn) ReadFromUDPAddrPort(b []byte) (n int, addr netip.AddrPort, err error) {
	err = c.read(func() error { n, addr, err = c.UDPConn.ReadFromUDPAddrPort(b); return err })
	return n, addr, err
}

func (c *udpConn) ReadMsgUDP(b, oob []byte) (n, oobn, flags int, addr *net.UDPAddr, err error) {
	err = c.read(func() error { n, oobn, flags, addr, err = c.UDPConn.ReadMsgUDP(b, oob); return err })
	return n, oobn, flags, addr, err
}

func (c *udpConn) ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, addr netip.AddrPort, err error) {
	err = c.read(func() error { n, oobn, flags, addr, err = c.UDPConn.ReadMsgUDPAddrPort(b, oob); return err })
	return n, oobn, flags, addr, err
}

// unixPacketConn is a *net.UnixConn with gated reads.
type unixPacketConn struct {
	*net.UnixConn
	*packetGate
}

func (c *unixPacketConn) Close() error                      { return c.packetGate.Close() }
func (c *unixPacketConn) SetDeadline(t time.Time) error     { return c.packetGate.SetDeadline(t) }
func (c *unixPacketConn) SetReadDeadline(t time.Time) error { return c.packetGate.SetReadDeadline(t) }

func (c *unixPacketConn) Read(b []byte) (n int, err error) {
	err = c.read(func() error { n, err = c.UnixConn.Read(b); return err })
	return n, err
}

func (c *unixPacketConn) ReadFrom(b []byte) (n int, addr net.Addr, err error) {
	err = c.read(func() error { n, addr, err = c.UnixConn.ReadFrom(b); return err })
	return n, addr, err
}

func (c *unixPacketConn) ReadFromUnix(b []byte) (n int, addr *net.UnixAddr, err error) {
	err = c.read(func() error { n, addr, err = c.UnixConn.ReadFromUnix(b); return err })
	return n, addr, err
}

func (c *unixPacketConn) ReadMsgUnix(b, oob []byte) (n, oobn, flags int, addr *net.UnixAddr, err error) {
	err = c.read(func() error { n, oobn, flags, addr, err = c.UnixConn.ReadMsgUnix(b, oob); return err })
	return n, oobn, flags, addr, err
}

// newPacketConn gates the reads of a datagram socket.
func newPacketConn(inner socketPacket, state gateState) (net.PacketConn, *packetGate) {
	g := &packetGate{inner: inner, gate: newGate(inner.SetReadDeadline, state)}
	switch c := inner.(type) {
	case *net.UDPConn:
		return &udpConn{UDPConn: c, packetGate: g}, g
	case *net.UnixConn:
		return &unixPacketConn{UnixConn: c, packetGate: g}, g
	}
	panic("handoff: unreachable: a datagram socket of another type")
}
