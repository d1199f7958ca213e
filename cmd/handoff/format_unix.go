//go:build unix

package main

import (
	"errors"
	"syscall"
)

// isFormatError tells that a file is no program of this machine.
func isFormatError(err error) bool { return errors.Is(err, syscall.ENOEXEC) }
