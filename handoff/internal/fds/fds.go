// Package fds lends descriptors to system calls.
package fds

import "syscall"

// With calls do with the descriptors of conns, which can't be closed meanwhile. It
// uses SyscallConn and not Fd, which would put a live socket into blocking mode.
func With(conns []syscall.Conn, do func(fds []int) error) error {
	return with(conns, nil, do)
}

func with(conns []syscall.Conn, fds []int, do func(fds []int) error) error {
	if len(conns) == 0 {
		return do(fds)
	}
	raw, err := conns[0].SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) { inner = with(conns[1:], append(fds, int(fd)), do) })
	if err != nil {
		return err
	}
	return inner
}
