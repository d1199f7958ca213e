//go:build unix

package handoff

import (
	"os"
	"syscall"
)

// openNoFollow opens a file for reading. A FIFO in its place doesn't block it.
func openNoFollow(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}
