package handoff

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/handoff-dev/handoff/handoff/internal/link"
	"github.com/handoff-dev/handoff/internal/notify"
)

// Whichever way a process is started, an error of chdir(2) names the directory.
func TestADirectoryThatCanNotBeEnteredIsNamed(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	byStage := func(cmd *exec.Cmd) error { return startExporting(cmd, nil, nil) }
	asKin := func(cmd *exec.Cmd) error { return startKin(cmd, nil, nil) }
	sibling := func(start func(*exec.Cmd) error) func(*exec.Cmd) error {
		return func(cmd *exec.Cmd) error {
			_, err := startSibling(cmd, start)
			return err
		}
	}
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for way, start := range map[string]func(*exec.Cmd) error{
		"Export":             func(cmd *exec.Cmd) error { return Export(cmd) },
		"by a stage":         byStage,
		"kin":                asKin,
		"sibling by a stage": sibling(byStage),
		"sibling, kin":       sibling(asKin),
		"successor":          func(cmd *exec.Cmd) error { return launchFor(t, cmd, false) },
		"sibling successor":  func(cmd *exec.Cmd) error { return launchFor(t, cmd, true) },
	} {
		for path, why := range map[string]syscall.Errno{filepath.Join(dir, "missing"): syscall.ENOENT, plain: syscall.ENOTDIR} {
			cmd := &exec.Cmd{Path: self, Args: []string{"x"}, Dir: path, Env: []string{programVariable + "=1"}}
			err := start(cmd)
			var fault *fs.PathError
			if !errors.As(err, &fault) || fault.Op != "chdir" || fault.Path != path || fault.Err != why {
				t.Errorf("%s: got %v, want chdir %s: %v", way, err, path, why)
			}
		}
	}
}

// launchFor starts cmd as an upgrade does.
func launchFor(t *testing.T, cmd *exec.Cmd, sibling bool) error {
	t.Helper()
	inbox, err := notify.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer inbox.Close()
	s := &successor{cmd: cmd, sibling: sibling, inbox: inbox, past: func() *link.History { return nil }}
	return s.launch()
}

func TestACheckCommandWhoseDirectoryIsGoneNamesIt(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	up, err := New(Options{UpgradeSignals: []os.Signal{}, StopSignals: []os.Signal{}, Command: "/bin/true", Preflight: []string{"-t"}, Dir: missing})
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	if err := up.Preflight(context.Background()); err == nil || !strings.Contains(err.Error(), "chdir "+missing+": no such file") {
		t.Errorf("got %v", err)
	}
}

// A child with this variable is in a chroot without /proc, in the directory of the value,
// and tells of what the start of /app there fails, with and without a directory.
const chrootVariable = "TEST_CHROOT"

func init() {
	root := os.Getenv(chrootVariable)
	if root == "" {
		return
	}
	if err := errors.Join(syscall.Chroot(root), os.Chdir("/")); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for _, dir := range []string{"", "/", "/gone"} {
		fmt.Println(Export(&exec.Cmd{Path: "/app", Args: []string{"app"}, Dir: dir}))
	}
	os.Exit(0)
}

// The program's file is there, so it must not be named.
func TestInAChrootAnErrorNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can call chroot(2)")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := errors.Join(writeProgram(filepath.Join(root, "app"), []byte("#!/bin/sh\n")), os.Mkdir(filepath.Join(root, "dev"), 0o755),
		os.WriteFile(filepath.Join(root, "dev/null"), nil, 0o644)); err != nil { // for the standard input
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), chrootVariable+"="+root, "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	lines := strings.Split(string(out), "\n")
	if err != nil || len(lines) != 4 {
		t.Fatalf("%v: %s", err, out)
	}
	const noProc = "handoff: export: exec /proc/self/exe: no such file or directory: this process sees no /proc"
	for i, want := range []string{noProc, noProc, "chdir /gone: no such file or directory"} {
		if !strings.HasPrefix(lines[i], want) {
			t.Errorf("start %d: got %s, want %s", i, lines[i], want)
		}
	}
}
