//go:build unix

package activate

import (
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// PeerAddr is who is at the other end of a connection.
type PeerAddr struct {
	Addr string // without a port; "" if it has none
	Port string // "" if there is no such
}

func (p PeerAddr) String() string {
	switch {
	case p.Addr == "":
		return "a unix socket"
	case p.Port == "":
		return p.Addr
	}
	return net.JoinHostPort(p.Addr, p.Port)
}

// Peer reads an address as systemd writes it: an IPv4 address on an IPv6 socket is
// one of IPv4.
func Peer(sa unix.Sockaddr) PeerAddr {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return PeerAddr{netip.AddrFrom4(sa.Addr).String(), strconv.Itoa(sa.Port)}
	case *unix.SockaddrInet6:
		addr := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.ZoneId != 0 && addr.Is6() {
			zone := strconv.FormatUint(uint64(sa.ZoneId), 10)
			if ifi, err := net.InterfaceByIndex(int(sa.ZoneId)); err == nil {
				zone = ifi.Name
			}
			addr = addr.WithZone(zone)
		}
		return PeerAddr{addr.String(), strconv.Itoa(sa.Port)}
	case *unix.SockaddrUnix:
		if sa.Name != "@" { // how golang.org/x/sys gives a socket without a name
			return PeerAddr{Addr: sa.Name}
		}
	}
	return otherPeer(sa)
}

func (p PeerAddr) variables() (vars []string) {
	if p.Addr != "" {
		vars = append(vars, "REMOTE_ADDR="+p.Addr)
	}
	if p.Port != "" {
		vars = append(vars, "REMOTE_PORT="+p.Port)
	}
	return vars
}
