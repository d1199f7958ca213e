//go:build unix && !small

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// demoProcess is 'handoff demo' as a process of its own.
type demoProcess struct {
	*exec.Cmd
	tmp            string // its folder for temporary files
	stdout, stderr syncBuffer
}

func demoCommand(t *testing.T, args ...string) *demoProcess {
	t.Helper()
	d := &demoProcess{tmp: t.TempDir()}
	d.Cmd = exec.Command(os.Args[0], append([]string{"demo"}, args...)...)
	d.Env = append(os.Environ(), asCommand+"=1", "TMPDIR="+d.tmp, "GORACE=atexit_sleep_ms=0")
	d.Cmd.Stdout, d.Cmd.Stderr = &d.stdout, &d.stderr
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("output:\n%s\nerror output:\n%s", d.stdout.String(), d.stderr.String())
		}
	})
	return d
}

func start(t *testing.T, args ...string) *demoProcess {
	t.Helper()
	d := demoCommand(t, args...)
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.Process.Kill()
		for _, pid := range d.leftovers(t) { // the test has failed
			if n, err := strconv.Atoi(pid); err == nil {
				syscall.Kill(n, syscall.SIGKILL)
			}
		}
	})
	return d
}

// await waits until text is in the error output, where progress is told.
func (d *demoProcess) await(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(d.stderr.String(), text); {
		if time.Now().After(deadline) {
			t.Fatalf("%q was not told in time", text)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (d *demoProcess) exitCode(t *testing.T) int {
	t.Helper()
	if err := d.Wait(); err != nil && d.ProcessState == nil {
		t.Fatal(err)
	}
	return d.ProcessState.ExitCode()
}

// leavesNoFile fails the test if there is anything in the folder for temporary
// files.
func (d *demoProcess) leavesNoFile(t *testing.T) {
	t.Helper()
	left, err := os.ReadDir(d.tmp)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind in %s: %v (%v)", d.tmp, left, err)
	}
}

// leftovers are the processes that run a binary from the demo's folder for
// temporary files, on Linux, which can tell; elsewhere none.
func (d *demoProcess) leftovers(t *testing.T) (pids []string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return nil
	}
	exes, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, exe := range exes {
		if to, err := os.Readlink(exe); err == nil && strings.HasPrefix(to, d.tmp+"/") {
			pids = append(pids, filepath.Base(filepath.Dir(exe)))
		}
	}
	return pids
}

// A short demo: three upgrades, half a second apart.
var short = []string{"--seconds=2", "--upgrades=3", "--workers=2"}

func TestTheDemoLosesNothingAndLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	d := start(t, short...)
	if code := d.exitCode(t); code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
	d.leavesNoFile(t)
	if left := d.leftovers(t); len(left) > 0 {
		t.Errorf("left behind: pids %v", left)
	}
	for _, want := range []string{"upgrades      3\n", "failed        0 ", "p99.9", "first answer  "} {
		if !strings.Contains(d.stdout.String(), want) {
			t.Errorf("%q is not in the output", want)
		}
	}
	if want := "upgrade 3 of 3: version 2, pid "; !strings.Contains(d.stderr.String(), want) {
		t.Errorf("%q is not in the error output", want)
	}
}

func TestTheDemosResultIsJSONIfAskedFor(t *testing.T) {
	t.Parallel()
	d := start(t, append(short, "--json")...)
	if code := d.exitCode(t); code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
	var rep report
	if err := json.Unmarshal([]byte(d.stdout.String()), &rep); err != nil {
		t.Fatal(err)
	}
	if len(rep.Upgrades) != 3 || rep.Load.Requests == 0 || rep.Load.OK != rep.Load.Requests || len(rep.Load.Shapes) != 4 {
		t.Errorf("%d upgrades, load %+v", len(rep.Upgrades), rep.Load.Counters)
	}
	for i, up := range rep.Upgrades {
		if up.Generation != i+2 || up.Version != 2-i%2 || up.FirstAnswer <= 0 || up.FirstAnswer > rep.FirstAnswerMax {
			t.Errorf("upgrade %d: %+v", i+1, up)
		}
	}
}

func TestTheDemoFailsWhenRequestsAreLost(t *testing.T) {
	t.Parallel()
	d := start(t, "--seconds=0.5", "--upgrades=0", "--workers=1", "--lose=50")
	if code := d.exitCode(t); code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	if out := d.stderr.String(); !strings.Contains(out, "error: ") || !strings.Contains(out, "requests failed\n") {
		t.Errorf("the error output doesn't say that requests failed")
	}
	if out := d.stdout.String(); !strings.Contains(out, "lost: ") || strings.Contains(out, "eof 0,") {
		t.Errorf("the output doesn't tell what was lost")
	}
	d.leavesNoFile(t)
}

func TestAnInterruptedDemoLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		d := start(t, "--seconds=60", "--upgrades=100", "--workers=2")
		d.await(t, "upgrade 1 of") // the first generation still drains
		d.Process.Signal(sig)
		if code := d.exitCode(t); code != exitFailed {
			t.Errorf("%v: exit code %d, want %d", sig, code, exitFailed)
		}
		if !strings.HasSuffix(d.stderr.String(), "error: interrupted\n") {
			t.Errorf("%v: it doesn't say that it was interrupted", sig)
		}
		d.leavesNoFile(t)
		if left := d.leftovers(t); len(left) > 0 {
			t.Errorf("%v: left behind: pids %v", sig, left)
		}
	}
}

func TestAKilledDemosServersEndThemselves(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("which processes are left is told by /proc, on Linux only")
	}
	for _, test := range []struct{ upgrades, until string }{
		{"--upgrades=0", "serving on"},     // one generation, which does nothing by itself
		{"--upgrades=100", "upgrade 1 of"}, // two, of which one drains
	} {
		d := start(t, "--seconds=60", "--workers=2", test.upgrades)
		d.await(t, test.until)
		if len(d.leftovers(t)) == 0 {
			t.Fatal("no process of the demo's server was found, so this test can prove nothing")
		}
		d.Process.Kill()
		d.exitCode(t)
		for deadline := time.Now().Add(10 * time.Second); len(d.leftovers(t)) > 0; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: left behind: pids %v", test.upgrades, d.leftovers(t))
			}
		}
	}
}

func TestTwoVersionsDifferAndKnowThemselves(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	b, err := newBinaries()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(b.dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder's mode is %v (%v), want 0700", info.Mode(), err)
	}
	for _, version := range []int{1, 2, 1} {
		if err := b.install(version); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(b.path)
		if err != nil {
			t.Fatal(err)
		}
		if want := versionTrailer + strconv.Itoa(version); !bytes.HasSuffix(got, []byte(want)) {
			t.Errorf("version %d ends with %q", version, got[len(got)-len(want):])
		}
	}
	if left, _ := os.ReadDir(b.dir); len(left) != 3 {
		t.Errorf("%v, want two versions and the installed one", left)
	}
	if err := b.remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(b.dir); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
}
