//go:build !linux

package handoff

import "os"

// Signal has no process to send to: there are go-betweens on Linux only.
func (r *relay) Signal(os.Signal) error { return ErrUnsupported }
