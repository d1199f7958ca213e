//go:build !linux

package inspect

import "fmt"

// Linux's numbers, for the parsers are tested everywhere.
const (
	nonblock = 0o4000
	cloexec  = 0o2000000
)

func read(pid int) (*Process, error) {
	return nil, fmt.Errorf("process %d: %w: only Linux's /proc tells what another process holds", pid, ErrUnsupported)
}

var _ = []any{readIP, readUnix, flagsOf, relation}
