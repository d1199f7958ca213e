//go:build unix

package stage

import "syscall"

// closeOnExecEach is closeOnExecFrom for systems without close_range(2). It
// stops at a bound, for a limit may be in the thousands of millions.
func closeOnExecEach(first int) {
	const bound = 1 << 16
	last := uint64(bound)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil {
		last = min(last, uint64(limit.Cur))
	}
	for fd := first; uint64(fd) < last; fd++ {
		syscall.CloseOnExec(fd)
	}
}
