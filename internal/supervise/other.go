//go:build !linux

package supervise

import (
	"context"
	"fmt"
)

// A Holder keeps sockets for a program. This system has none.
type Holder struct{}

// New returns an error that wraps [ErrUnsupported].
func New(Options) (*Holder, error) {
	return nil, fmt.Errorf("hold sockets for a program: %w on this system", ErrUnsupported)
}

// Resumed tells that this process is no holder that has upgraded itself.
func Resumed() bool { return false }

// CheckLine is what a program that can take over from a holder prints.
func CheckLine() string { return "" }

// Run returns an error that wraps [ErrUnsupported].
func (h *Holder) Run(context.Context) (int, error) { return 0, ErrUnsupported }

// Status returns nothing.
func (h *Holder) Status() Status { return Status{} }
