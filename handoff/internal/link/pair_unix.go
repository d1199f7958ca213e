//go:build unix && !linux

package link

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func socketpair(kind int) ([2]int, error) {
	// Without SOCK_CLOEXEC everywhere: no fork may come in between.
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, kind, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	return fds, os.NewSyscallError("socketpair", err)
}

// closeOnExec is for systems without MSG_CMSG_CLOEXEC.
func closeOnExec(fds []int) {
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
}
