//go:build !unix

package activate

import (
	"context"
	"fmt"
)

func become(Program, []string, []int, Place) error {
	return fmt.Errorf("become the program: %w: this system has no execve", ErrUnsupported)
}

// Wait returns when a connection waits.
func Wait(context.Context, []int) error {
	return fmt.Errorf("wait for a connection: %w on this system", ErrUnsupported)
}

func (s Server) serve(context.Context, func()) error {
	return fmt.Errorf("accept connections for a program: %w on this system", ErrUnsupported)
}

// MustListen says why nothing can be accepted from a descriptor.
func MustListen(int) error { return nil }
