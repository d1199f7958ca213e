//go:build unix

package control

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// ListenAgain calls listen(2) once more on a socket that was inherited, so that its clients
// see this process and its user as their peer, and not the one that made it (SO_PEERCRED,
// unix(7)). What waits in its queue stays.
func ListenAgain(ln *net.UnixListener) error {
	raw, err := ln.SyscallConn()
	if err != nil {
		return err
	}
	const backlog = 1<<15 - 1 // the kernel takes no more than somaxconn of it
	cerr := raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), backlog) })
	return errors.Join(cerr, os.NewSyscallError("listen", err))
}
