//go:build unix

package handoff

import "syscall"

// awaitByte waits until there is something to read, be it the end, and reads
// nothing. The error is that of the read deadline.
func awaitByte(conn socketConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var one [1]byte
	return raw.Read(func(fd uintptr) bool {
		for {
			_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK)
			if err != syscall.EINTR {
				return err != syscall.EAGAIN
			}
		}
	})
}

// hasBytes tells whether there is something to read, be it the end.
func hasBytes(conn socketConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	var one [1]byte
	has := false
	err = raw.Control(func(fd uintptr) {
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		has = err == nil
	})
	return err == nil && has
}
