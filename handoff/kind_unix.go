//go:build unix

package handoff

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// kindOf looks at an open descriptor without changing it. The text is empty
// where kind.String says all there is to say. The addresses are nil for what is
// no socket, or a socket of a family that the net package doesn't know.
func kindOf(fd int) (kind Kind, text string, local, remote net.Addr) {
	if sotype, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err == nil {
		return socketKindOf(fd, sotype)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return KindOther, fmt.Sprintf("file of unknown kind (fstat: %v)", err), nil, nil
	}
	switch uint32(st.Mode) & unix.S_IFMT {
	case unix.S_IFSOCK:
		return KindSocket, "socket of unknown type", nil, nil
	case unix.S_IFIFO:
		return KindFIFO, "", nil, nil
	case unix.S_IFREG:
		kind, text = regularKindOf(fd, st.Nlink == 0)
		return kind, text, nil, nil
	case unix.S_IFCHR:
		return KindCharDevice, "", nil, nil
	case unix.S_IFDIR:
		return KindDirectory, "", nil, nil
	case unix.S_IFBLK:
		return KindOther, "block device", nil, nil
	}
	return KindOther, "", nil, nil
}

// socketKindOf asks as little as it can: with a thousand sockets, each question
// counts.
func socketKindOf(fd, sotype int) (Kind, string, net.Addr, net.Addr) {
	f := socketFacts{}
	f.class, f.classText = classOf(sotype)
	bound, err := unix.Getsockname(fd)
	if err != nil {
		bound = nil
	}
	accepts, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	known := err == nil
	var peer unix.Sockaddr
	if accepts == 0 { // who listens has no peer
		if peer, err = unix.Getpeername(fd); err != nil {
			peer = nil
		} else {
			f.connected = true
		}
	}
	f.family = familyOf(fd, bound, f.class)
	f.listening = accepts != 0 || !known && !f.connected && isBound(bound)
	f.listening = f.listening && f.class != classDatagram

	kind, text := f.kind()
	return kind, text, addrOf(bound, f.class), addrOf(peer, f.class)
}

// isBound is for where SO_ACCEPTCONN isn't answered (Darwin): there a bound stream
// socket without a peer is taken for a listener.
func isBound(bound unix.Sockaddr) bool {
	switch sa := bound.(type) {
	case *unix.SockaddrInet4:
		return sa.Port != 0
	case *unix.SockaddrInet6:
		return sa.Port != 0
	case *unix.SockaddrUnix:
		return sa.Name != ""
	}
	return false
}

func classOf(sotype int) (socketClass, string) {
	switch sotype {
	case unix.SOCK_STREAM:
		return classStream, "stream"
	case unix.SOCK_DGRAM:
		return classDatagram, "datagram"
	case unix.SOCK_SEQPACKET:
		return classSeqpacket, "seqpacket"
	case unix.SOCK_RAW:
		return classOther, "raw"
	}
	return classOther, fmt.Sprintf("type %d", sotype)
}

func addrOf(sa unix.Sockaddr, class socketClass) net.Addr {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return ipAddr(class, sa.Addr[:], sa.Port, "")
	case *unix.SockaddrInet6:
		return ipAddr(class, sa.Addr[:], sa.Port, zoneName(sa.ZoneId))
	case *unix.SockaddrUnix:
		return unixAddr(class, sa.Name)
	}
	return nil
}

// v6Only tells whether IPV6_V6ONLY is set: ipv6(7).
func v6Only(fd int) bool {
	only, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
	return err == nil && only != 0
}
