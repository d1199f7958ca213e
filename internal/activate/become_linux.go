package activate

import (
	"math"

	"golang.org/x/sys/unix"
)

// alone gives the calling thread a descriptor table of its own, in which all from 3 on
// are close-on-exec. The Go runtime has its epoll instance at some number; were a socket
// put in its place in the common table, another thread that polls in that instant would
// end the process.
func alone() {
	// A range that holds nothing, for the side effect: since Linux 5.9, and a container
	// that forbids unshare(2) allows it.
	if unix.CloseRange(math.MaxUint32, math.MaxUint32, unix.CLOSE_RANGE_UNSHARE) != nil {
		_ = unix.Unshare(unix.CLONE_FILES) // else the instant is short
	}
	closeOnExecAll()
}

// closeOnExecAll marks all from 3 on.
func closeOnExecAll() {
	if unix.CloseRange(firstFD, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) != nil { // since Linux 5.11
		closeOnExecFrom(firstFD)
	}
}

func dupTo(from, to int) error { return unix.Dup3(from, to, 0) }
