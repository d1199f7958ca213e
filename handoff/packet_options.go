package handoff

import (
	"fmt"
	"net"
	"slices"
)

// PacketOptions say how the generations of a service share a datagram socket: they
// all hold the same one, with one queue. The zero value is for questions and answers
// of a datagram each, and has the successor answer from its ready on.
type PacketOptions struct {
	// UntilCommit has this generation read until it commits to its successor, which
	// does not read before then: a successor that fails its probation has had no
	// datagram. Otherwise reading passes to the successor when that is ready, so
	// that its probation is one under load.
	//
	// It is the reading generation's choice how it hands over. Its successor
	// obeys if it is a program with this package; any other reads from its start on,
	// and both then get some of the datagrams.
	UntilCommit bool

	// Owner, if not nil, is for protocols with connections, like QUIC: it returns the
	// number of the generation (see [Upgrader.Generation]) to whose flow a datagram
	// belongs, 0 for a new flow or if it can't tell. A datagram of an older
	// generation that still drains goes to that one, whose ReadFrom returns it as if it
	// had come from the socket; any other is this generation's. It is called by
	// ReadFrom, for what is read while another generation may be there, and must
	// neither keep nor change the datagram.
	//
	// The result of ListenPacketWith has then only the methods of net.PacketConn,
	// SyscallConn, SetReadBuffer and SetWriteBuffer. Its ReadFrom doesn't end when this
	// generation has handed over, nor when the service stops: it goes on with
	// the datagrams of this generation's flows until the socket's Close, which is for
	// the program to call when its flows are over (in [Service].Drain), or until the
	// Upgrader's. Datagrams in excess of what waits to be read are dropped, as the
	// kernel does.
	Owner func(datagram []byte, from net.Addr) (generation int)
}

// ListenPacket is [Upgrader.Listen] for datagrams: network is "udp", "udp4",
// "udp6" or "unixgram". The result has the methods of *net.UDPConn or
// *net.UnixConn, with those that read under the Upgrader's control: while a
// successor is on probation they wait, and when this generation has handed over
// they return an error that is [net.ErrClosed]. Writing goes on to work until
// Close, for the answers to what was read before.
//
// What reads the descriptor itself by SyscallConn, as quic-go and
// golang.org/x/net/ipv4 do with a socket that has these methods, is not under control:
// see [PacketOptions].Owner.
func (u *Upgrader) ListenPacket(name, network, address string) (net.PacketConn, error) {
	return u.ListenPacketWith(name, network, address, PacketOptions{})
}

// ListenPacketWith is [Upgrader.ListenPacket] with options.
func (u *Upgrader) ListenPacketWith(name, network, address string, opts PacketOptions) (net.PacketConn, error) {
	return u.listenPacket(name, network, address, opts, ofVersion(u.opts.ListenConfig.ListenPacket))
}

func (u *Upgrader) listenPacket(name, network, address string, opts PacketOptions, bind binder[net.PacketConn]) (net.PacketConn, error) {
	if !slices.Contains([]string{"udp", "udp4", "udp6", "unixgram"}, network) {
		return nil, fmt.Errorf("handoff: listen %q: %w", name, net.UnknownNetworkError(network))
	}
	conn, s, err := open(u, name, network, address, (*inherited).packetConn, bind)
	if err != nil {
		return nil, fmt.Errorf("handoff: listen %q: %w", name, err)
	}
	inner, ok := conn.(socketPacket)
	if !ok {
		conn.Close()
		closeOutlets(s.older)
		return nil, fmt.Errorf("handoff: listen %q: a %T can't be handed on", name, conn)
	}
	gated, p := newPacketConn(inner, gatePaused)
	s.untilCommit = opts.UntilCommit
	s.Conn, s.gate, s.end = inner, p.gate, p.end
	p.onClose = func() { u.forget(s) }
	if opts.Owner != nil {
		s.router = newRouter(u, p, opts.Owner, s.older)
		s.end = s.router.end
		gated = s.router
	} else {
		closeOutlets(s.older)
	}
	s.older = nil
	if err := u.register(s); err != nil {
		gated.Close()
		return nil, fmt.Errorf("handoff: listen %q: %w", name, err)
	}
	if s.router != nil {
		u.mu.Lock()
		u.routed = append(u.routed, s)
		u.mu.Unlock()
	}
	return gated, nil
}

// gateFor returns the state that a socket's gate is to have; u.mu is held.
func (u *Upgrader) gateFor(s *shared) gateState {
	switch {
	case u.gates == gateOpen && s.late && !u.main:
		return gatePaused // the predecessor still reads
	case u.gates == gatePaused && s.untilCommit && u.main:
		return gateOpen // a successor is on probation
	}
	return u.gates
}
