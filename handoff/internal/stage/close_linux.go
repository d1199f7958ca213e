package stage

import "syscall"

const (
	// The same number everywhere but on mips, where it is unknown and the
	// descriptors are marked one by one.
	sysCloseRange      = 436
	closeRangeCloexec  = 1 << 2
	closeRangeToTheEnd = ^uint32(0)
)

// closeOnExecFrom marks first and every descriptor above it close-on-exec.
func closeOnExecFrom(first int) {
	// Since Linux 5.11.
	_, _, errno := syscall.RawSyscall(sysCloseRange, uintptr(first), uintptr(closeRangeToTheEnd), closeRangeCloexec)
	if errno != 0 {
		closeOnExecEach(first)
	}
}
