package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A command that can't see a process says so, and why. It doesn't take what it can't see
// for what is not there.

const (
	bySocketInstead = "give the service a control socket at a path (Options.Control; handoff run --control) and name it by --socket"
	nothingSent     = "nothing was sent to it; "
)

// noProcess is the error about a process that this one can't even signal.
func noProcess(pid int) error {
	hint := ""
	if ns, err := os.Readlink("/proc/self/ns/pid"); err == nil && ns != "pid:[4026531836]" { // PROC_PID_INIT_INO
		hint = "this command sees the processes of its own pid namespace alone, as in a container, and by their numbers there; " + bySocketInstead
	}
	return noService(fmt.Errorf("there is no process %d", pid), hint)
}

// unseen is the error about a process that is there, and that this one can't look at.
func unseen(pid int, err error) error {
	cause, hint := whyUnseen(pid, err)
	if cause != "" {
		cause = ": " + cause
	}
	return noService(fmt.Errorf("process %d can't be looked at%s: %w", pid, cause, err), nothingSent+hint)
}

func whyUnseen(pid int, err error) (cause, hint string) {
	const asOther = "run it as root or as the service's user, or "
	self, serr := os.Readlink("/proc/self")
	switch hide := hidepid(); {
	case serr != nil:
		return "there is no /proc here", "mount it, or " + bySocketInstead
	case self != strconv.Itoa(os.Getpid()):
		return "/proc is that of another pid namespace", "mount the own one, or " + bySocketInstead
	case errors.Is(err, fs.ErrNotExist) && !alive(pid):
		return "it has ended", "name the service by --unit or --socket"
	case inUserNamespace():
		return "this command runs in a user namespace of its own, as PrivateUsers= of a unit gives one", bySocketInstead + ", or set PrivateUsers=no"
	case hide != "":
		return "/proc is mounted with " + hide, asOther + bySocketInstead + ", or set ProtectProc=default"
	case os.Geteuid() == 0 && !hasCapability(unix.CAP_SYS_PTRACE):
		return "this root has no CAP_SYS_PTRACE", "add it (CapabilityBoundingSet= of a unit), or " + bySocketInstead
	}
	return "", asOther + bySocketInstead
}

// inUserNamespace tells whether this process is in another user namespace than the
// machine's first (user_namespaces(7)).
func inUserNamespace() bool {
	text, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(text)), " ") != "0 0 4294967295"
}

// hidepid is the option by which /proc hides the processes of others (proc(5)), or "".
func hidepid() string {
	text, _ := os.ReadFile("/proc/self/mounts")
	found := ""
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 4 || f[1] != "/proc" {
			continue
		}
		found = "" // the last one lies on top
		for option := range strings.SplitSeq(f[3], ",") {
			if strings.HasPrefix(option, "hidepid=") && option != "hidepid=0" && option != "hidepid=off" {
				found = option
			}
		}
	}
	return found
}

func hasCapability(number int) bool {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if mask, ok := strings.CutPrefix(line, "CapEff:"); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return err == nil && bits&(1<<number) != 0
		}
	}
	return false
}
