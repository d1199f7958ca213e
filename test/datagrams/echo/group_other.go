//go:build !unix

package main

import (
	"errors"
	"syscall"
)

func group(_, _ string, _ syscall.RawConn) error { return errors.ErrUnsupported }
