package activate

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// acceptConn returns a connection that is close-on-exec and blocking.
func acceptConn(fd int) (int, unix.Sockaddr, error) { return unix.Accept4(fd, unix.SOCK_CLOEXEC) }

// dieWithParent has a program that this process starts get SIGTERM when this process
// ends in whatever way.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }
