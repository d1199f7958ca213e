//go:build unix

package main

import "golang.org/x/sys/unix"

// socketFlags are what is set on a descriptor, as far as whoever takes it may care. It
// changes nothing.
func socketFlags(fd int) (flags []string) {
	if status, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err == nil && status&unix.O_NONBLOCK != 0 {
		flags = append(flags, "nonblocking")
	}
	for _, option := range append([]socketOption{
		{"reuseaddr", unix.SOL_SOCKET, unix.SO_REUSEADDR},
		{"reuseport", unix.SOL_SOCKET, unix.SO_REUSEPORT},
		{"keepalive", unix.SOL_SOCKET, unix.SO_KEEPALIVE},
		{"v6only", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY},
	}, systemOptions...) {
		if value, err := unix.GetsockoptInt(fd, option.level, option.number); err == nil && value != 0 {
			flags = append(flags, option.name)
		}
	}
	return flags
}

type socketOption struct {
	name          string
	level, number int
}
