package stage

import (
	"strconv"
	"syscall"
)

// leaked tells whether a descriptor from first on would come through an execve,
// which is what somebody has opened without FD_CLOEXEC. It is true where that can't
// be told, without /proc.
func leaked(first int) bool {
	dir, err := syscall.Open("/proc/self/fd", syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return true
	}
	defer syscall.Close(dir)
	// An entry's offset is its number and two (proc_readfd_common in fs/proc/fd.c, also
	// 20 years ago): with a thousand sockets, those that were passed need not be read.
	if _, err := syscall.Seek(dir, int64(first)+2, 0); err != nil {
		return true
	}
	buf := make([]byte, 1<<10)
	for {
		n, err := syscall.ReadDirent(dir, buf)
		if err != nil {
			return true
		}
		if n == 0 {
			return false
		}
		_, _, names := syscall.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			if fd, err := strconv.Atoi(name); err == nil && fd >= first && passed(fd) {
				return true
			}
		}
	}
}
