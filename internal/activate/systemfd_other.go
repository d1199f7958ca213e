//go:build !windows

package activate

import (
	"fmt"
	"syscall"
)

// Systemfd starts the program with sockets by systemfd's protocol for Windows; elsewhere
// descriptors are passed.
func Systemfd(Program, Environ, []syscall.Conn) (int, error) {
	return 0, fmt.Errorf("systemfd's protocol: %w on this system", ErrUnsupported)
}
