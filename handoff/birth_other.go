//go:build unix && !linux

package handoff

import (
	"os"
	"os/exec"
	"syscall"
)

// startSibling can't do what it does on Linux; nor is there a systemd that would
// need it.
func startSibling(*exec.Cmd, func(*exec.Cmd) error) (pidfd *os.File, err error) {
	return nil, syscall.EINVAL
}

func waitSibling(*os.File) error { return nil }
