//go:build unix

package prove

import (
	"os/exec"
	"syscall"
)

func shell(command string) (name string, args []string) { return "sh", []string{"-c", command} }

func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup kills the shell and what it has started. A group's number isn't
// given to another while there is anybody in it.
func killGroup(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
