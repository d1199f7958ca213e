//go:build unix

package flip

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// dup returns a close-on-exec duplicate. It uses SyscallConn and not Fd, which would put
// a live socket into blocking mode.
func dup(conn syscall.Conn) (fd int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := raw.Control(func(from uintptr) { fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 3) })
	if cerr != nil {
		return -1, cerr
	}
	return fd, os.NewSyscallError("fcntl", err)
}
