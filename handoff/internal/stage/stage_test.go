//go:build unix

package stage

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestEachVariableNamesTheProcessThatItIsMeantFor(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		sentence string
		env      []string
		listen   bool
		want     []string
	}{
		{"others stay, in their order", []string{"A=1", "B=", "C=x=y"}, false, []string{"A=1", "B=", "C=x=y"}},
		{"with sockets", []string{"LISTEN_FDS=1"}, true, []string{"LISTEN_FDS=1", "LISTEN_PID=7"}},
		{"stale ones go", []string{"LISTEN_PID=5", "LISTEN_PIDFDID=9", "A=1"}, false, []string{"A=1"}},
		{"stale ones go, with sockets", []string{"LISTEN_PID=5", "LISTEN_PIDFDID=9"}, true, []string{"LISTEN_PID=7"}},
		{"a watchdog's", []string{"WATCHDOG_PID=5", "WATCHDOG_USEC=100"}, false, []string{"WATCHDOG_USEC=100", "WATCHDOG_PID=7"}},
		{"a watchdog for all", []string{"WATCHDOG_USEC=100"}, false, []string{"WATCHDOG_USEC=100", "WATCHDOG_PID=7"}},
		{"no watchdog", []string{"WATCHDOG_PID=5"}, false, nil},
		{"systemd's own", []string{"SYSTEMD_EXEC_PID=5"}, false, []string{"SYSTEMD_EXEC_PID=7"}},
		{"the link", []string{LinkVariable + "=4"}, false, []string{LinkVariable + "=4 7"}},
		{"the order itself", []string{Variable + "=5 1 /bin/true", "A=1"}, false, []string{"A=1"}},
		{"a mere likeness", []string{"LISTEN_PIDS=5", "XLISTEN_PID=5"}, false, []string{"LISTEN_PIDS=5", "XLISTEN_PID=5"}},
	} {
		if got := environment(tc.env, tc.listen, 7); !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %q, want %q", tc.sentence, got, tc.want)
		}
	}
}

func TestAnOrderIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	for _, o := range []Order{{Path: "/bin/true", Report: 3}, {Path: "./a b  c", Report: 1000, Listen: true}, {Path: "=\n", Report: 4},
		{Path: "/bin/true", Report: 5, InPlace: true}, {Path: "/bin/true", Report: 5, Listen: true, InPlace: true}} {
		value, ok := strings.CutPrefix(o.Encode(), Variable+"=")
		got, decoded := decode(value)
		if !ok || !decoded || got != o {
			t.Errorf("%+v is written %q and read %+v", o, value, got)
		}
	}
	for _, value := range []string{"", "3", "3 1", "3 1 ", "x 1 /bin/true", "2 1 /bin/true", "-1 1 /bin/true", "/bin/true", "3  /bin/true"[:2], "3 x /bin/true", "3 4 /bin/true", "3 -1 /bin/true", "3 01 /bin/true", "3 12 /bin/true", "3  /bin/true"} {
		if o, ok := decode(value); ok {
			t.Errorf("%q is read as %+v", value, o)
		}
	}
}

func TestALinkOfAnotherProcessIsNotBelieved(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]int{
		"9 7": 9, "9 8": 0, "9": 0, "": 0, "9 ": 0, "x 7": 0, "2 7": 0, "-9 7": 0, "9 7 ": 0, "9  7": 0,
		"99999999999999999999 7": 0,
	} {
		if fd, ok := parseLink(value, 7); ok != (want != 0) || ok && fd != want {
			t.Errorf("%q: got %d, %v", value, fd, ok)
		}
	}
}

func TestOnlyADescriptorThatWasPassedIsTheLink(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	dup, err := syscall.Dup(int(r.Fd())) // as if it had come through exec
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(dup)
	for fd, want := range map[int]bool{dup: true, int(w.Fd()): false, 1 << 20: false, -1: false} {
		if got := passed(fd); got != want {
			t.Errorf("descriptor %d was passed: %v", fd, got)
		}
	}
}

// stage starts this very program as a stage, with files above its report.
func stageFor(t *testing.T, self string, o Order, args []string, env []string, above ...*os.File) (*exec.Cmd, *os.File, *strings.Builder) {
	t.Helper()
	reading, writing, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reading.Close() })
	defer writing.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	o.Report = 4
	out := new(strings.Builder)
	cmd := &exec.Cmd{Path: self, Args: args, Stdout: out, Stderr: os.Stderr, ExtraFiles: append([]*os.File{null, writing}, above...)}
	cmd.Env = append(append(os.Environ(), env...), o.Encode(), "GORACE=atexit_sleep_ms=0")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, reading, out
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheTargetHasThePidThatItsVariableNames(t *testing.T) {
	t.Parallel()
	cmd, report, out := stageFor(t, self(t), Order{Path: "/bin/sh", Listen: true},
		[]string{"sh", "-c", `echo "$$ $LISTEN_PID ${HANDOFF_STAGE-none}"`}, []string{"LISTEN_PID=1"})
	if text, err := io.ReadAll(report); len(text) != 0 || err != nil {
		t.Errorf("reported: %q, %v", text, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	pid := strconv.Itoa(cmd.Process.Pid)
	if got, want := out.String(), pid+" "+pid+" none\n"; got != want {
		t.Errorf("the target says %q, want %q", got, want)
	}
}

func TestTheTargetHasNoDescriptorButItsOwn(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	cmd, _, out := stageFor(t, self(t), Order{Path: "/bin/sh"}, []string{"sh", "-c",
		`for fd in 3 4 5 6 7 8 9; do if (eval ": <&$fd") 2>/dev/null; then echo $fd; fi; done`}, nil, w, r, w)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if out.String() != "3\n" {
		t.Errorf("open in the target: %q, want 3 only", out)
	}
}

func TestAFailureIsReportedByItsErrno(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	busy := file("busy", "#!/bin/sh\n", 0o755)
	writer, err := os.OpenFile(busy, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	for path, want := range map[string]syscall.Errno{
		filepath.Join(dir, "missing"):            syscall.ENOENT,
		file("script", "#!/no/such/sh\n", 0o755): syscall.ENOENT,
		file("plain", "text", 0o644):             syscall.EACCES,
		dir:                                      syscall.EACCES,
		file("garbage", "\x01\x02", 0o755):       syscall.ENOEXEC,
		file("empty", "", 0o755):                 syscall.ENOEXEC,
		filepath.Join(dir, "plain", "x"):         syscall.ENOTDIR,
		loop:                                     syscall.ELOOP,
		busy:                                     syscall.ETXTBSY,
	} {
		if want == syscall.ETXTBSY && runtime.GOOS != "linux" {
			continue
		}
		cmd, report, _ := stageFor(t, self(t), Order{Path: path}, []string{"x"}, nil)
		text, err := io.ReadAll(report)
		if got, _ := strconv.Atoi(string(text)); err != nil || syscall.Errno(got) != want {
			t.Errorf("%s: reported %q (%v), %v, want %v", filepath.Base(path), text, syscall.Errno(got), err, want)
		}
		wantExit(t, cmd, exitFailed)
	}
}

func wantExit(t *testing.T, cmd *exec.Cmd, code int) {
	t.Helper()
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != code {
		t.Errorf("the stage ended by %v, want exit status %d", err, code)
	}
}

func TestAMalformedOrderIsRefused(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(self(t))
	cmd.Env = append(os.Environ(), Variable+"=junk", "GORACE=atexit_sleep_ms=0")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	wantExit(t, cmd, exitRefused)
}

func TestASetuidProgramIsNoStage(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can make a program setuid to another user")
	}
	dir, err := os.MkdirTemp("/tmp", "handoff-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	data, err := os.ReadFile(self(t))
	program := filepath.Join(dir, "program")
	// A child of a parallel test that has the file open for writing, until it executes
	// something else, would have its execution fail by ETXTBSY.
	syscall.ForkLock.RLock()
	werr := os.WriteFile(program, data, 0o755)
	syscall.ForkLock.RUnlock()
	if err := errors.Join(err, werr, os.Chmod(dir, 0o755), os.Chown(program, 65534, 65534),
		os.Chmod(program, 0o755|os.ModeSetuid)); err != nil {
		t.Fatal(err)
	}
	// It would be no test where setuid has no effect.
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err == nil && runtime.GOOS == "linux" && fs.Flags&2 != 0 { // ST_NOSUID
		t.Skip("/tmp is mounted nosuid")
	}
	cmd, _, out := stageFor(t, program, Order{Path: "/bin/echo"}, []string{"echo", "executed"}, nil)
	wantExit(t, cmd, exitRefused)
	if out.String() != "" {
		t.Error("the setuid program executed what its environment named")
	}
}
