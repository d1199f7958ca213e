package handoff

import "fmt"

// Kind says what an inherited file descriptor is, as far as a taker cares.
type Kind int

// The kinds. KindOther, the zero value, is what fits none of the rest (a block
// device, an epoll instance), KindSocket a socket that the net package can't
// use as it is: of another family (vsock, netlink), raw, or a stream socket
// that neither listens nor is connected. Entry.String tells these apart.
const (
	KindOther Kind = iota
	KindTCPListener
	KindUnixListener
	KindSeqpacketListener // unix sequential packets
	KindUDP
	KindUnixgram
	KindTCPConn
	KindUnixConn
	KindSeqpacketConn
	KindSocket
	KindFIFO // a named pipe, or one end of an unnamed one
	KindFile
	KindCharDevice
	KindDirectory
	KindMemfd // Linux only, elsewhere nothing is told to be one
)

// kindTexts also says which methods of Set take the kind, as advice for who
// called the wrong one.
var kindTexts = map[Kind]struct{ name, takers string }{
	KindOther:             {"unknown kind of file", "File"},
	KindTCPListener:       {"TCP listener", "Listener or TCPListener"},
	KindUnixListener:      {"unix stream listener", "Listener or UnixListener"},
	KindSeqpacketListener: {"unix seqpacket listener", "Listener or UnixListener"},
	KindUDP:               {"UDP socket", "PacketConn or UDPConn"},
	KindUnixgram:          {"unix datagram socket", "PacketConn"},
	KindTCPConn:           {"connected TCP socket", "Conn"},
	KindUnixConn:          {"connected unix stream socket", "Conn"},
	KindSeqpacketConn:     {"connected unix seqpacket socket", "Conn"},
	KindSocket:            {"socket", "File"},
	KindFIFO:              {"FIFO", "File"},
	KindFile:              {"regular file", "File"},
	KindCharDevice:        {"character device", "File"},
	KindDirectory:         {"directory", "File"},
	KindMemfd:             {"memfd", "File"},
}

// String names the kind in plain words, such as "TCP listener".
func (k Kind) String() string {
	if t, ok := kindTexts[k]; ok {
		return t.name
	}
	return fmt.Sprintf("Kind(%d)", int(k))
}
