//go:build !linux

package main

import (
	"fmt"
	"os"
)

// It looks into /proc, and waits for processes by their pidfds.
func main() {
	fmt.Fprintln(os.Stderr, "bench: it runs on Linux only")
	os.Exit(1)
}
