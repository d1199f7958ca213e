//go:build !unix

package prove

import "os/exec"

func shell(command string) (name string, args []string) { return "cmd", []string{"/C", command} }

func ownGroup(*exec.Cmd) {}

func killGroup(cmd *exec.Cmd) { cmd.Process.Kill() }
