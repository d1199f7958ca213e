package handoff

import (
	"fmt"
	"net"

	"golang.org/x/sys/windows"
)

// Winsock's numbers, which golang.org/x/sys/windows leaves out.
const (
	soType       = 0x1008
	soAcceptConn = 0x0002
)

// kindOf looks at a socket: systemfd passes nothing else.
func kindOf(fd int) (kind Kind, text string, local, remote net.Addr) {
	h := windows.Handle(fd)
	sotype, err := windows.GetsockoptInt(h, windows.SOL_SOCKET, soType)
	if err != nil {
		return KindOther, fmt.Sprintf("handle that is no socket (getsockopt: %v)", err), nil, nil
	}
	f := socketFacts{family: "unknown", classText: fmt.Sprintf("type %d", sotype)}
	ip := "IP"
	switch sotype {
	case windows.SOCK_STREAM:
		f.class, f.classText, ip = classStream, "stream", "TCP"
	case windows.SOCK_DGRAM:
		f.class, f.classText, ip = classDatagram, "datagram", "UDP"
	}
	if v, err := windows.GetsockoptInt(h, windows.SOL_SOCKET, soAcceptConn); err == nil {
		f.listening = v != 0 && f.class != classDatagram
	}
	if sa, err := windows.Getpeername(h); err == nil {
		f.connected, remote = true, addrOf(sa, f.class)
	}
	if sa, err := windows.Getsockname(h); err == nil {
		local = addrOf(sa, f.class)
		switch sa.(type) {
		case *windows.SockaddrInet4, *windows.SockaddrInet6:
			f.family = ip
		case *windows.SockaddrUnix:
			f.family = "unix"
		}
	}
	kind, text = f.kind()
	return kind, text, local, remote
}

func addrOf(sa windows.Sockaddr, class socketClass) net.Addr {
	switch sa := sa.(type) {
	case *windows.SockaddrInet4:
		return ipAddr(class, sa.Addr[:], sa.Port, "")
	case *windows.SockaddrInet6:
		return ipAddr(class, sa.Addr[:], sa.Port, zoneName(sa.ZoneId))
	case *windows.SockaddrUnix:
		return unixAddr(class, sa.Name)
	}
	return nil
}

// v6Only tells whether IPV6_V6ONLY is set.
func v6Only(fd int) bool {
	only, err := windows.GetsockoptInt(windows.Handle(fd), windows.IPPROTO_IPV6, windows.IPV6_V6ONLY)
	return err == nil && only != 0
}
