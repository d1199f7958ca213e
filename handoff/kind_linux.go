package handoff

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// familyOf asks SO_DOMAIN and SO_PROTOCOL: an IP stream socket may also be SCTP,
// which net.FileListener would serve as TCP without a word.
func familyOf(fd int, bound unix.Sockaddr, class socketClass) string {
	if _, ok := bound.(*unix.SockaddrUnix); ok {
		return "unix"
	}
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return "unknown"
	}
	switch domain {
	case unix.AF_UNIX:
		return "unix"
	case unix.AF_VSOCK:
		return "vsock"
	case unix.AF_NETLINK:
		return "netlink"
	case unix.AF_PACKET:
		return "packet"
	case unix.AF_INET, unix.AF_INET6:
	default:
		return fmt.Sprintf("family %d", domain)
	}
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return "IP"
	}
	switch {
	case class == classStream && (protocol == unix.IPPROTO_TCP || protocol == unix.IPPROTO_MPTCP):
		return "TCP"
	case class == classDatagram && protocol == unix.IPPROTO_UDP:
		return "UDP"
	case protocol == unix.IPPROTO_SCTP:
		return "SCTP"
	}
	return fmt.Sprintf("IP protocol %d", protocol)
}

// regularKindOf tells what only looks like a regular file. Without /proc a memfd
// counts as one.
func regularKindOf(fd int, nameless bool) (Kind, string) {
	const mqueueMagic = 0x19800202
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err == nil && int64(fs.Type) == mqueueMagic {
		return KindOther, "POSIX message queue"
	}
	if nameless {
		name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err == nil && strings.HasPrefix(name, "/memfd:") {
			return KindMemfd, ""
		}
	}
	return KindFile, ""
}
