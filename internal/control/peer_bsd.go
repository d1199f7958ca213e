//go:build darwin || freebsd

package control

import (
	"fmt"
	"net"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// allows returns nil if the process at the other end, as it was when it connected,
// may control the service (LOCAL_PEERCRED, unix(4)).
func (r Rule) allows(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Xucred
	cerr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptXucred(int(fd), 0, unix.LOCAL_PEERCRED) // level SOL_LOCAL
	})
	switch {
	case cerr != nil:
		return cerr
	case err != nil:
		return os.NewSyscallError("getsockopt", err)
	case cred.Uid == 0, cred.Uid == uint32(r.UID):
		return nil
	}
	known := cred.Groups[:min(max(int(cred.Ngroups), 0), len(cred.Groups))]
	if r.GID >= 0 && slices.Contains(known, uint32(r.GID)) {
		return nil
	}
	return fmt.Errorf("a process of user %d may not control this service", cred.Uid)
}
