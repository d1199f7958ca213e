//go:build unix

package handoff

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// makeRoom makes the kernel's table of this process's descriptors large enough for n
// more. Where a process has threads Linux waits for all processors before it uses
// a larger one (expand_fdtable in fs/file.c, synchronize_rcu): 10 to 30 ms.
func makeRoom(n int) {
	f, err := os.Open(os.DevNull) // it gets the lowest number that is free
	if err != nil {
		return
	}
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	const others = 16 // pipes, sockets and what is opened meanwhile
	_ = raw.Control(func(fd uintptr) {
		// EINVAL is beyond RLIMIT_NOFILE, and then the upgrade is as slow as it is.
		if high, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, int(fd)+n+others); err == nil {
			syscall.Close(high)
		}
	})
}
