package handoff

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
)

// endpoint is an address in a form in which two ways to write it are equal:
// ":8080" is "[::]:8080" and "0.0.0.0:8080", "127.0.0.1" is "::ffff:127.0.0.1".
type endpoint struct {
	family string // "tcp", "udp", "unix", "unixgram", "unixpacket"
	ip     netip.Addr
	port   int
	path   string
}

// specific tells whether the endpoint names one socket. Port 0 stands for any.
func (e endpoint) specific() bool { return e.path != "" || e.port != 0 }

// requested returns the endpoint of what a program asks Listen for. It is not
// specific if the address can't be resolved; the bind will say why.
func requested(ctx context.Context, network, address string) endpoint {
	family := netFamily(network)
	if strings.HasPrefix(family, "unix") {
		return endpoint{family: family, path: cleanPath(address)}
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return endpoint{family: family}
	}
	port, err := net.DefaultResolver.LookupPort(ctx, family, service)
	if err != nil {
		return endpoint{family: family}
	}
	var ip netip.Addr
	if host != "" {
		if ip, err = netip.ParseAddr(host); err != nil {
			// As net.Listen does: a name means the first of its IPv4 addresses, or
			// of its IPv6 ones for "tcp6" and "udp6".
			addr, err := net.ResolveTCPAddr("tcp"+network[3:], net.JoinHostPort(host, "0"))
			if err != nil {
				return endpoint{family: family}
			}
			ip = addr.AddrPort().Addr()
		}
	}
	return endpoint{family: family, ip: foldIP(ip), port: port}
}

// bound returns the endpoint of a socket's address.
func bound(addr net.Addr) endpoint {
	switch a := addr.(type) {
	case *net.TCPAddr:
		return endpoint{family: "tcp", ip: foldIP(a.AddrPort().Addr()), port: a.Port}
	case *net.UDPAddr:
		return endpoint{family: "udp", ip: foldIP(a.AddrPort().Addr()), port: a.Port}
	case *net.UnixAddr:
		return endpoint{family: a.Net, path: cleanPath(a.Name)}
	}
	return endpoint{}
}

// foldIP makes the zero Addr of every wildcard, and IPv4 of what is IPv4 in IPv6.
func foldIP(ip netip.Addr) netip.Addr {
	ip = ip.Unmap()
	if ip.IsUnspecified() {
		return netip.Addr{}
	}
	return ip
}

func netFamily(network string) string {
	if strings.HasPrefix(network, "tcp") || strings.HasPrefix(network, "udp") {
		return network[:3]
	}
	return network
}

// cleanPath makes a unix socket's path absolute. An abstract name stays.
func cleanPath(path string) string {
	if path == "" || path[0] == '@' {
		return path
	}
	if path[0] == 0 {
		return "@" + path[1:]
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return filepath.Clean(path)
}
