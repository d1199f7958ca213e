//go:build unix

package activate

import (
	"io/fs"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

func become(p Program, env []string, fds []int, place Place) error {
	// From here on this thread may have descriptors of its own, see alone. It is never
	// unlocked.
	runtime.LockOSThread()
	alone()

	last := place.First + len(fds)
	aside := make([]int, len(fds))
	for i, fd := range fds {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, last)
		if err != nil {
			return os.NewSyscallError("fcntl", err)
		}
		aside[i] = dup
	}
	for i, fd := range aside {
		to := []int{place.First + i}
		if place.Inetd {
			to = []int{0, 1}
		}
		for _, to := range to {
			if err := dupTo(fd, to); err != nil {
				return os.NewSyscallError("dup", err)
			}
		}
	}
	return &fs.PathError{Op: "execute", Path: p.Path, Err: syscall.Exec(p.Path, p.Args, env)}
}

// closeOnExecFrom marks first and what is above it, one by one. It stops at a bound, for
// a limit may be in the thousands of millions.
func closeOnExecFrom(first int) {
	const bound = 1 << 16
	last := uint64(bound)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil {
		last = min(last, uint64(limit.Cur))
	}
	for fd := first; uint64(fd) < last; fd++ {
		unix.CloseOnExec(fd)
	}
}
