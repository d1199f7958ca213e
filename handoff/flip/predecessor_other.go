//go:build !unix

package flip

import (
	"syscall"

	"github.com/handoff-dev/handoff/handoff"
)

func dup(syscall.Conn) (int, error) { return -1, handoff.ErrUnsupported }
