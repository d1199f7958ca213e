package handoff

import (
	"fmt"
	"io"
	"net"
	"os"
)

var (
	wantListener   = want{"listener", []Kind{KindTCPListener, KindUnixListener, KindSeqpacketListener}}
	wantTCP        = want{"TCP listener", []Kind{KindTCPListener}}
	wantUnix       = want{"unix listener", []Kind{KindUnixListener, KindSeqpacketListener}}
	wantPacketConn = want{"datagram socket", []Kind{KindUDP, KindUnixgram}}
	wantUDP        = want{"UDP socket", []Kind{KindUDP}}
	wantConn       = want{"connected socket", []Kind{KindTCPConn, KindUnixConn, KindSeqpacketConn}}
	wantAny        = want{text: "file"}
)

// Listener takes a stream or seqpacket listener. It is a *net.TCPListener or a
// *net.UnixListener, whose path Close doesn't unlink: it is whoever bound it
// who may do that.
//
// The socket is put into non-blocking mode for all processes that share it.
func (s *Set) Listener(sel Selector) (net.Listener, error) {
	return takeAs(s, sel, wantListener, listenerFromFD)
}

// TCPListener is Listener for TCP only.
func (s *Set) TCPListener(sel Selector) (*net.TCPListener, error) {
	return takeAs(s, sel, wantTCP, fromFD[*net.TCPListener](openListener))
}

// UnixListener is Listener for unix sockets only, stream or seqpacket.
func (s *Set) UnixListener(sel Selector) (*net.UnixListener, error) {
	return takeAs(s, sel, wantUnix, fromFD[*net.UnixListener](openListener))
}

// Listeners takes all listeners of that name, as one .socket unit names all its
// sockets alike, and takes either all or, on an error, none. What else has the
// name stays in the Set.
func (s *Set) Listeners(name string) ([]net.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, err := s.findLocked(ByName(name), wantListener)
	if err != nil {
		return nil, err
	}
	var lns []net.Listener
	for _, i := range found {
		ln, err := duplicate[net.Listener](s.slots[i].entry.FD, openListener)
		if err != nil {
			for _, ln := range lns {
				_ = ln.Close() // a duplicate: the socket itself stays as it is
			}
			return nil, fmt.Errorf("handoff: take inherited %v: %w", s.slots[i].entry, err)
		}
		lns = append(lns, ln)
	}
	for _, i := range found {
		s.slots[i].gone = true
		_ = s.fds.close(s.slots[i].entry.FD) // the listener has its own
	}
	return lns, nil
}

// PacketConn takes a UDP socket (*net.UDPConn) or a unix datagram socket
// (*net.UnixConn).
func (s *Set) PacketConn(sel Selector) (net.PacketConn, error) {
	return takeAs(s, sel, wantPacketConn, packetConnFromFD)
}

// UDPConn is PacketConn for UDP only.
func (s *Set) UDPConn(sel Selector) (*net.UDPConn, error) {
	return takeAs(s, sel, wantUDP, fromFD[*net.UDPConn](openPacketConn))
}

// Conn takes a connected stream or seqpacket socket, such as a unit with
// Accept=yes gets. Like every TCP connection that the net package makes it has TCP_NODELAY
// and keep-alive set, whatever was set before (net.FileConn).
//
// A TCP connection that the client has reset meanwhile is a KindSocket, and so
// a *KindError.
func (s *Set) Conn(sel Selector) (net.Conn, error) {
	return takeAs(s, sel, wantConn, connFromFD)
}

// File takes a descriptor of any kind, under its own number: FIFO, regular
// file, device, memfd, or a socket that the net package has no type for. The
// file's Name is the entry's, or "fd 3" where that is empty. Blocking mode is
// left as it was passed, as it belongs to all processes that share the file;
// in blocking mode deadlines don't work, and Close doesn't end a Read.
func (s *Set) File(sel Selector) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, err := s.findLocked(sel, wantAny)
	if err != nil {
		return nil, err
	}
	sl := &s.slots[found[0]]
	sl.gone = true
	return (&inherited{Entry: sl.entry}).file(), nil
}

// takeAs takes the first fit. On an error convert has not touched the fd.
func takeAs[T any](s *Set, sel Selector, w want, convert func(fd int) (T, error)) (T, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var none T
	found, err := s.findLocked(sel, w)
	if err != nil {
		return none, err
	}
	sl := &s.slots[found[0]]
	v, err := convert(sl.entry.FD)
	if err != nil {
		return none, fmt.Errorf("handoff: take inherited %v: %w", sl.entry, err)
	}
	sl.gone = true
	return v, nil
}

// inherited is one descriptor out of a Set, close-on-exec, owned by its holder.
// One of its methods ends it; but when one of those that can fail does, the
// descriptor is still owned, and the holder tries another, or close.
type inherited struct {
	Entry
}

// take takes the first untaken descriptor that match says yes to. match must
// not use the Set.
func (s *Set) take(match func(Entry) bool) (*inherited, bool) {
	return s.takeOf(func(int, string) bool { return true }, match)
}

// takeOf is take among those whose index and name come into question. No other
// is looked at.
func (s *Set) takeOf(eligible func(index int, name string) bool, match func(Entry) bool) (*inherited, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A program that takes a thousand takes them in their order, most often.
	for s.first < len(s.slots) && s.slots[s.first].gone {
		s.first++
	}
	for i := s.first; i < len(s.slots); i++ {
		sl := &s.slots[i]
		if !sl.gone && eligible(sl.entry.Index, sl.entry.Name) && match(s.lookLocked(sl)) {
			sl.gone = true
			return &inherited{Entry: sl.entry}, true
		}
	}
	return nil, false
}

func (in *inherited) listener() (net.Listener, error)     { return listenerFromFD(in.FD) }
func (in *inherited) packetConn() (net.PacketConn, error) { return packetConnFromFD(in.FD) }
func (in *inherited) conn() (net.Conn, error)             { return connFromFD(in.FD) }
func (in *inherited) close() error                        { return os.NewSyscallError("close", closeFD(in.FD)) }

func (in *inherited) file() *os.File {
	name := in.Name
	if name == "" {
		name = fmt.Sprintf("fd %d", in.FD)
	}
	return os.NewFile(uintptr(in.FD), name)
}

// These turn an owned descriptor into a socket of the net package. That one
// works on a duplicate, so the original is closed: one descriptor stays one. On
// an error the original is open and still the caller's.

func listenerFromFD(fd int) (net.Listener, error) { return fromFD[net.Listener](openListener)(fd) }
func packetConnFromFD(fd int) (net.PacketConn, error) {
	return fromFD[net.PacketConn](openPacketConn)(fd)
}
func connFromFD(fd int) (net.Conn, error) { return fromFD[net.Conn](openConn)(fd) }

func fromFD[T any](open func(*os.File) (io.Closer, error)) func(fd int) (T, error) {
	return func(fd int) (T, error) {
		v, err := duplicate[T](fd, open)
		if err == nil {
			_ = closeFD(fd) // v has its own
		}
		return v, err
	}
}

// duplicate goes over a dup, because an *os.File on fd itself could not be
// dropped again without closing it.
func duplicate[T any](fd int, open func(*os.File) (io.Closer, error)) (T, error) {
	var none T
	dup, err := dupFD(fd)
	if err != nil {
		return none, err
	}
	f := os.NewFile(uintptr(dup), "inherited")
	defer f.Close()
	c, err := open(f)
	if err != nil {
		return none, err
	}
	v, ok := c.(T)
	if !ok {
		_ = c.Close()
		return none, fmt.Errorf("the net package made a %T of it", c)
	}
	return v, nil
}

func openListener(f *os.File) (io.Closer, error) {
	ln, err := net.FileListener(f)
	if u, ok := ln.(interface{ SetUnlinkOnClose(bool) }); ok {
		u.SetUnlinkOnClose(false)
	}
	return ln, err
}

func openPacketConn(f *os.File) (io.Closer, error) { return net.FilePacketConn(f) }
func openConn(f *os.File) (io.Closer, error)       { return net.FileConn(f) }
