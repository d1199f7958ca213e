package control

import (
	"fmt"
	"net"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// allows returns nil if the process at the other end, as it was when it connected,
// may control the service (SO_PEERCRED and SO_PEERGROUPS, unix(7), socket(7)).
func (r Rule) allows(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var groups []uint32
	cerr := raw.Control(func(fd uintptr) {
		if cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil && r.GID >= 0 {
			groups, err = peerGroups(int(fd))
		}
	})
	switch {
	case cerr != nil:
		return cerr
	case err != nil:
		return os.NewSyscallError("getsockopt", err)
	case cred.Uid == 0, cred.Uid == uint32(r.UID):
		return nil
	case r.GID >= 0 && (cred.Gid == uint32(r.GID) || slices.Contains(groups, uint32(r.GID))):
		return nil
	}
	return fmt.Errorf("process %d of user %d may not control this service", cred.Pid, cred.Uid)
}

// peerGroups returns the supplementary groups.
func peerGroups(fd int) ([]uint32, error) {
	groups := make([]uint32, 64)
	for {
		size := uint32(4 * len(groups))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == unix.ERANGE && int(size) > 4*len(groups) && size <= 4<<16: // NGROUPS_MAX
			groups = make([]uint32, size/4)
		case errno != 0:
			return nil, errno
		default:
			return groups[:size/4], nil
		}
	}
}
