//go:build unix && !linux

package activate

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// acceptConn returns a connection that is close-on-exec and blocking.
func acceptConn(fd int) (int, unix.Sockaddr, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	conn, peer, err := unix.Accept(fd)
	if err == nil {
		unix.CloseOnExec(conn)
		err = unix.SetNonblock(conn, false) // it has the listener's mode here
	}
	return conn, peer, err
}

func dieWithParent() *syscall.SysProcAttr { return nil }
