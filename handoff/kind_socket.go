//go:build unix || windows

package handoff

import (
	"fmt"
	"net"
)

// socketFacts is what the system says of one socket.
type socketFacts struct {
	family    string // "TCP" and "UDP" (IP of either version), "unix", else a name for people
	class     socketClass
	classText string // for people: "stream", "datagram", "type 4"
	listening bool
	connected bool
}

type socketClass int

const (
	classOther socketClass = iota
	classStream
	classDatagram
	classSeqpacket
)

// kind tells the Kind, with a text where the Kind alone says too little.
func (f socketFacts) kind() (Kind, string) {
	switch {
	case f.family == "TCP" && f.class == classStream:
		return f.streamKind(KindTCPListener, KindTCPConn, "unconnected TCP socket")
	case f.family == "UDP" && f.class == classDatagram:
		return KindUDP, ""
	case f.family == "unix" && f.class == classStream:
		return f.streamKind(KindUnixListener, KindUnixConn, "unconnected unix stream socket")
	case f.family == "unix" && f.class == classSeqpacket:
		return f.streamKind(KindSeqpacketListener, KindSeqpacketConn, "unconnected unix seqpacket socket")
	case f.family == "unix" && f.class == classDatagram:
		return KindUnixgram, ""
	}
	noun := "socket"
	if f.listening {
		noun = "listener"
	}
	return KindSocket, fmt.Sprintf("%s %s %s", f.family, f.classText, noun)
}

func (f socketFacts) streamKind(listener, conn Kind, neither string) (Kind, string) {
	switch {
	case f.listening:
		return listener, ""
	case f.connected:
		return conn, ""
	}
	return KindSocket, neither
}

// ipAddr is the address in the type that the net package would use for class.
func ipAddr(class socketClass, ip net.IP, port int, zone string) net.Addr {
	switch class {
	case classStream, classSeqpacket:
		return &net.TCPAddr{IP: ip, Port: port, Zone: zone}
	case classDatagram:
		return &net.UDPAddr{IP: ip, Port: port, Zone: zone}
	}
	return &net.IPAddr{IP: ip, Zone: zone}
}

func unixAddr(class socketClass, name string) net.Addr {
	if name == "@" { // how golang.org/x/sys gives a socket without a name
		name = ""
	}
	network := "unix"
	switch class {
	case classDatagram:
		network = "unixgram"
	case classSeqpacket:
		network = "unixpacket"
	}
	return &net.UnixAddr{Name: name, Net: network}
}

// zoneName is the interface's name, or its number where it has none.
func zoneName(id uint32) string {
	if id == 0 {
		return ""
	}
	if ifi, err := net.InterfaceByIndex(int(id)); err == nil {
		return ifi.Name
	}
	return fmt.Sprint(id)
}
