//go:build linux

package proctest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// leaveBehind makes the test binary play a package whose only test leaves a process
// running.
const leaveBehind = "PROCTEST_LEAVE_BEHIND"

func TestMain(m *testing.M) { Main(m) }

// A recorder stands in for the test of a user of this package, so that its failure
// can be asserted.
type recorder struct {
	testing.TB
	cleanups []func()
	errors   []string
	logs     []string
	skipped  string
}

func (r *recorder) Cleanup(f func())          { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Failed() bool              { return len(r.errors) > 0 }
func (r *recorder) Logf(f string, a ...any)   { r.logs = append(r.logs, fmt.Sprintf(f, a...)) }
func (r *recorder) Errorf(f string, a ...any) { r.errors = append(r.errors, fmt.Sprintf(f, a...)) }
func (r *recorder) Fatalf(f string, a ...any) { r.Errorf(f, a...) }
func (r *recorder) Skip(a ...any)             { r.skipped = fmt.Sprint(a...) }

func (r *recorder) end() {
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		r.cleanups[i]()
	}
}

// parentOf starts a shell whose child sleeps, and returns it with the child's pid.
func parentOf(t testing.TB, script string) (*Process, int) {
	p := Start(t, Command("sh", "-c", script))
	var pid int
	p.Until("a pid in the output", func() (err error) {
		pid, err = strconv.Atoi(strings.TrimSpace(p.Output()))
		return err
	})
	return p, pid
}

func TestAProcessEndsWithItsTestAndItsOutputIsShownOnlyOnFailure(t *testing.T) {
	t.Parallel()
	for _, fail := range []bool{false, true} {
		r := &recorder{TB: t}
		p, _ := parentOf(r, "echo $$; exec sleep 1000")
		if fail {
			r.Errorf("the test's own failure")
		}
		r.end()
		if err := syscall.Kill(p.Pid(), 0); err != syscall.ESRCH {
			t.Errorf("kill 0 after the test: %v, want ESRCH: ended and reaped", err)
		}
		shown := strings.Contains(strings.Join(r.logs, "\n"), strconv.Itoa(p.Pid())+"\n")
		if shown != fail {
			t.Errorf("output shown: %v, test failed: %v", shown, fail)
		}
		if _, err := os.Stat(p.logFile); !os.IsNotExist(err) {
			t.Errorf("the file of the output is still there: %v", err)
		}
	}
}

func TestADescendantThatOutlivesItsTestIsKilledAndFailsIt(t *testing.T) {
	t.Parallel()
	for _, script := range []string{
		"sleep 1000 & echo $!; wait",                 // the parent lives on
		"sleep 1000 & echo $!",                       // the child becomes ours
		"setsid sleep 1000 & echo $!; kill -KILL $$", // in a session of its own
	} {
		r := &recorder{TB: t}
		_, pid := parentOf(r, script)
		if state(pid) == "Z" {
			t.Fatalf("the descendant has ended too early")
		}
		r.end()
		if state(pid) != "Z" { // Main reaps it
			t.Errorf("%s: the descendant lives", script)
		}
		if len(r.errors) == 0 || !strings.Contains(r.errors[0], "outlived") {
			t.Errorf("%s: the test has not failed: %q", script, r.errors)
		}
	}
}

func TestAnAdoptedProcessIsStoppedAndReaped(t *testing.T) {
	t.Parallel()
	r := &recorder{TB: t}
	p, pid := parentOf(r, "sleep 1000 & echo $!")
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	a := Adopt(r, pid)
	if !a.Alive() {
		t.Fatal("the successor is not alive")
	}
	a.Stop(unix.SIGTERM)
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("kill 0: %v, want ESRCH: ended and reaped", err)
	}
	r.end()
	if r.Failed() {
		t.Errorf("the test failed: %q", r.errors)
	}
}

func TestAConditionThatDependsOnADeadProcessIsGivenUpAtOnce(t *testing.T) {
	t.Parallel()
	type stop struct{}
	r := &recorder{TB: t}
	p := Start(r, Command("false"))
	func() {
		defer func() { recover() }() // a recorder does not end the goroutine as Fatalf does
		p.Until("an answer", func() error {
			if r.Failed() {
				panic(stop{})
			}
			return fmt.Errorf("connection refused")
		})
	}()
	r.end()
	if len(r.errors) != 1 || !strings.Contains(r.errors[0], "ended (exit status 1) before an answer: connection refused") {
		t.Errorf("errors: %q", r.errors)
	}
}

func TestAProcessThatOutlivesTheLastTestFailsTheRun(t *testing.T) {
	if os.Getenv(leaveBehind) != "" {
		cmd := exec.Command("sh", "-c", "sleep 1000 & echo left $!")
		cmd.Stdout = os.Stderr
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := Command(self, "-test.run=^"+t.Name()+"$")
	cmd.Env = append(cmd.Env, leaveBehind+"=1")
	p := Start(t, cmd)
	if err := p.Wait(); err == nil {
		t.Error("the run passed")
	}
	if out := p.Output(); !strings.Contains(out, "outlived the tests and was killed") || !strings.Contains(out, "PASS") {
		t.Errorf("output: %s", out)
	}
	var pid int
	_, rest, _ := strings.Cut(p.Output(), "left ")
	fmt.Sscan(rest, &pid)
	if err := syscall.Kill(pid, 0); pid == 0 || err != syscall.ESRCH {
		t.Errorf("kill 0 of process %d left behind: %v, want ESRCH", pid, err)
	}
}

func TestAProgramIsBuiltOnceAndNotInTmp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module example\n",
		"main.go": "package main\n\nvar version string\n\nfunc main() { println(version) }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	one := Build(t, Program{Package: "example", Dir: dir, Ldflags: "-X main.version=1"})
	two := Build(t, Program{Package: "example", Dir: dir, Ldflags: "-X main.version=2"})
	os.Remove(filepath.Join(dir, "main.go")) // nothing can be built any more
	if again := Build(t, Program{Package: "example", Dir: dir, Ldflags: "-X main.version=1"}); again != one {
		t.Errorf("built again, in %s and in %s", one, again)
	}
	for path, want := range map[string]string{one: "1\n", two: "2\n"} {
		if filepath.Base(path) != "example" || strings.HasPrefix(path, "/tmp/") {
			t.Errorf("path %s", path)
		}
		p := Start(t, Command(path))
		if err := p.Wait(); err != nil || p.Output() != want {
			t.Errorf("%s: %v, %q, want %q", path, err, p.Output(), want)
		}
	}
}

func TestAMissingProgramSkipsAndUnderCIFails(t *testing.T) {
	list := filepath.Join(t.TempDir(), "skipped")
	t.Setenv("HANDOFF_TEST_SKIPPED", list)

	t.Setenv("CI", "")
	r := &recorder{TB: t}
	RequireTool(r, "no-such-program")
	if r.Failed() || r.skipped != "the program no-such-program is not installed" {
		t.Errorf("without CI: errors %q, skipped %q", r.errors, r.skipped)
	}
	data, err := os.ReadFile(list)
	if want := t.Name() + ": the program no-such-program is not installed\n"; err != nil || string(data) != want {
		t.Errorf("the list for test/all: %v, %q, want %q", err, data, want)
	}

	t.Setenv("CI", "true")
	r = &recorder{TB: t}
	RequireTool(r, "no-such-program")
	if !r.Failed() {
		t.Error("with CI=true the test has not failed")
	}
	if path := RequireTool(t, "sh"); !filepath.IsAbs(path) {
		t.Errorf("sh is at %q", path)
	}
}

func TestACommandHasNothingOfTheServiceManagersEnvironment(t *testing.T) {
	for _, name := range []string{"LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "WATCHDOG_PID", "SYSTEMD_EXEC_PID"} {
		t.Setenv(name, "1")
	}
	p := Start(t, Command("env"))
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(p.Output(), "\n") {
		if managerVariable(line) && line != "GORACE=atexit_sleep_ms=0" {
			t.Errorf("the child has %s", line)
		}
	}
}

func TestAFreePortIsGivenOnce(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for range 50 {
		port := FreePort(t)
		if seen[port] {
			t.Errorf("port %d given twice", port)
		}
		seen[port] = true
	}
}
