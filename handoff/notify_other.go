//go:build !linux

package handoff

import (
	"errors"
	"fmt"
)

// MONOTONIC_USEC is for systemd alone.
func monotonicUsec() (uint64, bool) { return 0, false }

func pidfdID(int) (uint64, error) {
	return 0, fmt.Errorf("pidfds exist on Linux only: %w", errors.ErrUnsupported)
}

func dialNotifyVsock(vsockAddr) (notifyConn, error) {
	return nil, fmt.Errorf("vsock exists on Linux only: %w", errors.ErrUnsupported)
}
