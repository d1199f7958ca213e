//go:build !linux

package handoff

import "os/exec"

// isKin is asked on Linux only, where the stage can tell whether it has to execute its
// program once more.
func isKin(*exec.Cmd) bool { return false }

// runsKin can't be told here, so a READY=1 before the hello counts.
func runsKin(int) bool { return false }
