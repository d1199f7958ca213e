package address

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
)

// Versions are the versions of IP by which a socket is reached. The zero value is
// for what is no IP socket, and for an address that isn't known.
type Versions uint8

// A socket on the wildcard address [::] has both, unless IPV6_V6ONLY is set: ipv6(7).
const (
	V4   Versions = 1 << iota
	V6            // with IPV6_V6ONLY, or an address of IPv6
	Both = V4 | V6
)

// String is "IPv4", "IPv6", or "IPv4 and IPv6".
func (v Versions) String() string {
	switch v {
	case V4:
		return "IPv4"
	case V6:
		return "IPv6"
	case Both:
		return "IPv4 and IPv6"
	}
	return "neither version of IP"
}

// Endpoint is an address in a form in which two ways to write it are equal:
// ":8080" is "[::]:8080", "127.0.0.1" is "::ffff:127.0.0.1".
type Endpoint struct {
	Family   string     // "tcp", "udp", "unix", "unixgram", "unixpacket"
	Host     netip.Addr // the zero Addr: all of the Versions
	Versions Versions
	Port     int
	Path     string
}

// Specific tells whether the endpoint names one socket. Port 0 stands for any.
func (e Endpoint) Specific() bool { return e.Path != "" || e.Port != 0 }

// Overlaps tells whether a client who connects to f may reach e: they are equal, but for
// the versions of IP, of which they have one in common.
func (e Endpoint) Overlaps(f Endpoint) bool {
	same := f
	same.Versions = e.Versions
	return e == same && (e.Versions == f.Versions || e.Versions&f.Versions != 0)
}

// WiderThan tells whether e is open by a version of IP by which f isn't, where both
// are for all addresses.
func (e Endpoint) WiderThan(f Endpoint) bool {
	return !e.Host.IsValid() && !f.Host.IsValid() && f.Versions != 0 && e.Versions&^f.Versions != 0
}

// Family is what a network of package net is called without a version of IP.
func Family(network string) string {
	if strings.HasPrefix(network, "tcp") || strings.HasPrefix(network, "udp") {
		return network[:3]
	}
	return network
}

// Serves tells whether a socket that is reached by v is one of network: "tcp4" and
// "udp4" want IPv4, "tcp6" and "udp6" want IPv6.
func Serves(network string, v Versions) bool {
	switch network {
	case "tcp4", "udp4":
		return v&V4 != 0
	case "tcp6", "udp6":
		return v&V6 != 0
	}
	return true
}

// Network is the network to bind address on. An IPv4 address makes it one of IPv4:
// package net takes "0.0.0.0" for all addresses, those of IPv6 included.
func Network(network, address string) string {
	if network != "tcp" && network != "udp" {
		return network
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return network
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().Is4() {
		return network + "4"
	}
	return network
}

// Requested is what a program asks for by a network and an address of package net,
// with the exception that [Network] makes. It is not specific if the address can't be
// resolved; the bind will say why.
func Requested(ctx context.Context, network, address string) Endpoint {
	e := Endpoint{Family: Family(network)}
	if strings.HasPrefix(e.Family, "unix") {
		e.Path = CleanPath(address)
		return e
	}
	network = Network(network, address)
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return e
	}
	port, err := net.DefaultResolver.LookupPort(ctx, e.Family, service)
	if err != nil {
		return e
	}
	var ip netip.Addr
	if host != "" {
		if ip, err = netip.ParseAddr(host); err != nil {
			// As net.Listen does: a name means the first of its IPv4 addresses, or
			// of its IPv6 ones for "tcp6" and "udp6".
			addr, err := net.ResolveTCPAddr("tcp"+network[3:], net.JoinHostPort(host, "0"))
			if err != nil {
				return e
			}
			ip = addr.AddrPort().Addr()
		}
	}
	four, six := strings.HasSuffix(network, "4"), strings.HasSuffix(network, "6")
	if ip.IsValid() && (four && !ip.Unmap().Is4() || six && ip.Unmap().Is4()) {
		return e
	}
	e.Host, e.Versions = fold(ip, six)
	if four {
		e.Versions = V4
	}
	e.Port = port
	return e
}

// Bound is where a socket is bound. Of one that is bound to [::], only6 says that
// IPV6_V6ONLY is set.
func Bound(addr net.Addr, only6 bool) Endpoint {
	var e Endpoint
	switch a := addr.(type) {
	case *net.TCPAddr:
		e = Endpoint{Family: "tcp", Port: a.Port}
		e.Host, e.Versions = fold(a.AddrPort().Addr(), only6)
	case *net.UDPAddr:
		e = Endpoint{Family: "udp", Port: a.Port}
		e.Host, e.Versions = fold(a.AddrPort().Addr(), only6)
	case *net.UnixAddr:
		e = Endpoint{Family: a.Net, Path: CleanPath(a.Name)}
	}
	return e
}

// fold makes the zero Addr of every wildcard, IPv4 of what is IPv4 in IPv6, and one
// zone of an interface's name and its number. No address is all addresses.
func fold(ip netip.Addr, only6 bool) (netip.Addr, Versions) {
	ip = foldZone(ip.Unmap())
	versions := V6
	switch {
	case ip.Is4():
		versions = V4
	case !only6 && (!ip.IsValid() || ip.IsUnspecified()):
		versions = Both
	}
	if ip.IsUnspecified() {
		ip = netip.Addr{}
	}
	return ip, versions
}

// foldZone drops the zone where the kernel does: getsockname(2) has one for addresses
// that are good on one link alone.
func foldZone(ip netip.Addr) netip.Addr {
	if ip.Zone() == "" {
		return ip
	}
	if !ip.IsLinkLocalUnicast() && !ip.IsLinkLocalMulticast() && !ip.IsInterfaceLocalMulticast() {
		return ip.WithZone("")
	}
	if n, err := strconv.Atoi(ip.Zone()); err == nil {
		if ifi, err := net.InterfaceByIndex(n); err == nil {
			return ip.WithZone(ifi.Name)
		}
	}
	return ip
}

// CleanPath makes a unix socket's path absolute. An abstract name stays.
func CleanPath(path string) string {
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
