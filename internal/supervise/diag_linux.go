package supervise

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// acceptedInode returns the inode of the socket at the other end of a connection on this
// machine, 0 while nobody has accepted it. It asks sock_diag(7).
func acceptedInode(conn net.Conn) (uint32, error) {
	switch c := conn.(type) {
	case *net.TCPConn:
		return tcpInode(c)
	case *net.UnixConn:
		return unixInode(c)
	}
	return 0, fmt.Errorf("a connection of type %T", conn)
}

// The layouts are those of linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h and
// linux/unix_diag.h.
const (
	sockDiagByFamily = 20
	diagShowPeer     = 4
	diagPeer         = 2
	inetDiagInode    = 68 // in struct inet_diag_msg
	unixDiagAttrs    = 16 // after struct unix_diag_msg
)

func tcpInode(c *net.TCPConn) (uint32, error) {
	mine, err := netip.ParseAddrPort(c.LocalAddr().String())
	if err != nil {
		return 0, err
	}
	theirs, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return 0, err
	}
	request := make([]byte, 8, 56)
	request[0] = unix.AF_INET6
	src, dst := theirs.Addr().Unmap(), mine.Addr().Unmap()
	if src.Is4() {
		request[0] = unix.AF_INET
	}
	request[1] = unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(request[4:], ^uint32(0)) // any state
	request = binary.BigEndian.AppendUint16(request, theirs.Port())
	request = binary.BigEndian.AppendUint16(request, mine.Port())
	for _, a := range []netip.Addr{src, dst} {
		request = append(request, make([]byte, 16)...)
		copy(request[len(request)-16:], a.AsSlice())
	}
	request = append(request, 0, 0, 0, 0)                                     // any interface
	request = append(request, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) // no cookie
	answer, err := sockDiag(request)
	if errors.Is(err, unix.ENOENT) {
		// No such connection, or a kernel without tcp_diag.
		return tcpInodeFromProc(theirs.Port(), mine.Port())
	}
	if err != nil {
		return 0, err
	}
	if len(answer) < inetDiagInode+4 {
		return 0, errors.New("sock_diag: an answer that is too short")
	}
	return binary.NativeEndian.Uint32(answer[inetDiagInode:]), nil
}

// tcpInodeFromProc is the slow way, proc_pid_net(5).
func tcpInodeFromProc(local, remote uint16) (uint32, error) {
	for _, name := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		data, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		from, to := fmt.Sprintf(":%04X", local), fmt.Sprintf(":%04X", remote)
		for line := range strings.Lines(string(data)) {
			f := strings.Fields(line)
			if len(f) > 9 && strings.HasSuffix(f[1], from) && strings.HasSuffix(f[2], to) {
				inode, err := strconv.ParseUint(f[9], 10, 32)
				return uint32(inode), err
			}
		}
	}
	return 0, errElsewhere // it is closed already
}

func unixInode(c *net.UnixConn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var stat unix.Stat_t
	var serr error
	if err := raw.Control(func(fd uintptr) { serr = unix.Fstat(int(fd), &stat) }); err != nil || serr != nil {
		return 0, errors.Join(err, serr)
	}
	request := make([]byte, 24)
	request[0] = unix.AF_UNIX
	binary.NativeEndian.PutUint32(request[4:], ^uint32(0))
	binary.NativeEndian.PutUint32(request[8:], uint32(stat.Ino))
	binary.NativeEndian.PutUint32(request[12:], diagShowPeer)
	binary.NativeEndian.PutUint64(request[16:], ^uint64(0)) // no cookie
	answer, err := sockDiag(request)
	if err != nil {
		return 0, err
	}
	for rest := answer[min(len(answer), unixDiagAttrs):]; len(rest) >= 4; {
		length, kind := int(binary.NativeEndian.Uint16(rest)), binary.NativeEndian.Uint16(rest[2:])
		if length < 4 || length > len(rest) {
			break
		}
		if kind == diagPeer && length >= 8 {
			return binary.NativeEndian.Uint32(rest[4:]), nil
		}
		rest = rest[min(len(rest), (length+3)&^3):]
	}
	return 0, errElsewhere // the other end is closed
}

// sockDiag asks one question, and returns what follows the answer's header.
func sockDiag(request []byte) ([]byte, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	limit := unix.NsecToTimeval(int64(time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	message := make([]byte, unix.NLMSG_HDRLEN, unix.NLMSG_HDRLEN+len(request))
	binary.NativeEndian.PutUint32(message, uint32(unix.NLMSG_HDRLEN+len(request)))
	binary.NativeEndian.PutUint16(message[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(message[6:], unix.NLM_F_REQUEST)
	message = append(message, request...)
	if err := unix.Sendto(fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("sendto", err)
	}
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return nil, os.NewSyscallError("recvfrom", err)
	}
	if n < unix.NLMSG_HDRLEN+4 {
		return nil, errors.New("sock_diag: an answer that is too short")
	}
	body := buf[unix.NLMSG_HDRLEN:n]
	if binary.NativeEndian.Uint16(buf[4:]) == unix.NLMSG_ERROR {
		return nil, fmt.Errorf("sock_diag: %w", syscall.Errno(-int32(binary.NativeEndian.Uint32(body))))
	}
	return body, nil
}
