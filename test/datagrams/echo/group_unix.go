//go:build unix

package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// group lets several sockets have one address (SO_REUSEPORT, socket(7)).
func group(_, _ string, raw syscall.RawConn) error {
	var serr error
	if err := raw.Control(func(fd uintptr) { serr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); err != nil {
		return err
	}
	return serr
}
