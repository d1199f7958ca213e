package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/internal/needed"
)

// fromAnotherUserNamespace runs the command as a unit with PrivateUsers= does.
func fromAnotherUserNamespace(t *testing.T, args ...string) (code int, stderr string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	var text bytes.Buffer
	cmd.Stderr = &text
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}},
	}
	err := cmd.Start()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL) {
		needed.Missing(t, "there are no user namespaces: %v", err)
	}
	if err == nil {
		err = cmd.Wait()
	}
	if _, ended := err.(*exec.ExitError); err != nil && !ended {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), text.String()
}

// The service would take SIGHUP, and counts it: none may come.
func TestWhatCantBeSeenIsSaidBeforeAnySignal(t *testing.T) {
	t.Parallel()
	service := exec.Command("/bin/sh", "-c", `trap 'echo hup' HUP; echo up; while read line; do echo "$line"; done`)
	in, err := service.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := service.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	defer service.Wait()
	defer in.Close()
	up := make([]byte, 3)
	if _, err := out.Read(up); err != nil {
		t.Fatal(err)
	}
	pid := strconv.Itoa(service.Process.Pid)
	for _, args := range [][]string{{"upgrade", "--pid", pid}, {"upgrade", "--wait=false", "--pid", pid}, {"upgrade", "--check", "--pid", pid}, {"status", "--pid", pid}} {
		code, stderr := fromAnotherUserNamespace(t, args...)
		for _, want := range []string{"error: process " + pid + " can't be looked at: this command runs in a user namespace of its own, as PrivateUsers=", "\nhint: nothing was sent", "Options.Control", "--socket", "PrivateUsers=no"} {
			if code != exitNoService || !strings.Contains(stderr, want) {
				t.Errorf("%v: %d, %q, want %q", args, code, stderr, want)
			}
		}
		if n := strings.Count(stderr, "\n"); n != 2 {
			t.Errorf("%v says %q", args, stderr)
		}
	}
	if _, err := in.Write([]byte("still here\n")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 64)
	if n, err := out.Read(got); err != nil || string(got[:n]) != "still here\n" {
		t.Errorf("the service has got a signal: %q (%v)", got[:n], err)
	}
}

// A user's command meets a /proc that doesn't show the processes of others.
func TestAHiddenProcessIsNotTakenForNone(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		needed.Missing(t, "only root can mount a /proc with hidepid=")
	}
	service := exec.Command("sleep", "60")
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	defer service.Wait()
	defer service.Process.Kill()
	pid := strconv.Itoa(service.Process.Pid)
	unshare, setpriv := needed.Tool(t, "unshare"), needed.Tool(t, "setpriv")
	for _, hide := range []string{"1", "2"} {
		script := "mount -t proc -o hidepid=" + hide + " proc /proc && exec " + setpriv + ` --reuid 65534 --clear-groups --regid 65534 --bounding-set -all --inh-caps -all -- "$0" "$@"`
		bin := t.TempDir() + "/handoff"
		copyOpen(t, bin)
		cmd := exec.Command(unshare, "-m", "/bin/sh", "-c", script, bin, "upgrade", "--pid", pid)
		cmd.Env = append(os.Environ(), asCommand+"=1")
		cmd.Dir = "/"
		text, err := cmd.CombinedOutput()
		if strings.Contains(string(text), "mount:") {
			needed.Missing(t, "a /proc can't be mounted: %s", text)
		}
		var ended *exec.ExitError
		if !errors.As(err, &ended) || ended.ExitCode() != exitNoService || !strings.Contains(string(text), "process "+pid+" can't be looked at: /proc is mounted with hidepid=") {
			t.Errorf("hidepid=%s: %v, %q", hide, err, text)
		}
	}
}

// copyOpen puts the test's program where every user may run it.
func copyOpen(t *testing.T, to string) {
	t.Helper()
	for dir := to; ; {
		dir = dir[:strings.LastIndexByte(dir, '/')]
		if dir == os.TempDir() || dir == "" {
			break
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Chmod(to, 0o755); err != nil {
		t.Fatal(err)
	}
}
