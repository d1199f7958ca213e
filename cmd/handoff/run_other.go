//go:build !unix

package main

import (
	"os"
	"syscall"
)

// parseSignal takes what is the default, for no holder runs here.
func parseSignal(string) (syscall.Signal, error) { return syscall.SIGTERM, nil }

func isTTY(*os.File) bool { return false }
