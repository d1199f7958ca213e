package link

import (
	"os"

	"golang.org/x/sys/unix"
)

func socketpair(kind int) ([2]int, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	return fds, os.NewSyscallError("socketpair", err)
}

// closeOnExec has nothing to do: Go receives with MSG_CMSG_CLOEXEC.
func closeOnExec([]int) {}
