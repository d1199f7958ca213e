//go:build !linux

package main

import "fmt"

func noProcess(pid int) error { return noService(fmt.Errorf("there is no process %d", pid), "") }

func unseen(pid int, err error) error {
	return noService(fmt.Errorf("process %d can't be looked at: %w", pid, err),
		"run it as root or as the service's user, or name the control socket by --socket")
}
