//go:build linux

package run

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestAHangupSwapsTheProgramAndTheHolderStays(t *testing.T) {
	t.Parallel()
	h := holdOurs(t, "notify")
	g := h.load(load.NewConn())
	seen := map[int]bool{h.pid(): true}
	for range 5 {
		h.upgrade()
		h.Until("a new process to answer", func() error {
			if pid := h.pid(); !seen[pid] {
				seen[pid] = true
				return nil
			}
			return fmt.Errorf("an old one does")
		})
	}
	lossless(t, g.Stop())
	h.end(0)
}

func TestAReplacedFileIsWhatIsStartedNext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "app")
	install := func(version string) {
		script := fmt.Sprintf("#!/bin/sh\nVERSION=%s exec %s -mode %s\n", version, testProgram(t), filepath.Join(dir, "mode"))
		if err := os.WriteFile(path+".new", []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "mode"), "notify")
	install("one")
	h := hold(t, nil, path)
	install("two")
	if !strings.Contains(h.get("/env"), "VERSION=one\n") {
		t.Error("the first copy is not of version one")
	}
	h.upgrade()
	h.answers("/env", "VERSION=two\n")
	h.end(0)
}

// readyTimeout is for copies that will never be ready, and for their neighbours, which will, on a
// machine that has much to do.
const readyTimeout = "10s"

func TestACopyThatFailsLeavesTheOldOneServingAndSaysWhy(t *testing.T) {
	t.Parallel()
	for mode, wants := range map[string][]string{
		"die": {"generation 2 (pid ", "has ended before it was ready: exit status 3", "| line 11: the database can't be opened\n",
			"| line 30: the database can't be opened\n", "and nothing has changed"},
		"exit0":           {"has ended before it was ready: exit status 0"},
		"notify silent":   {"was not ready in time", "it has not said READY=1"},
		"notify dielate":  {"has ended: exit status 4", "| out of luck"},
		"silent watchdog": {"was not ready in time"},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := holdOurs(t, "notify", "--probation", "2s", "--ready-timeout", readyTimeout)
			old := h.pid()
			g := h.load(load.NewConn())
			write(t, h.mode, mode)
			h.failingUpgrade()
			h.Until("the failed copy to end", func() error { return h.copies(1) })
			r := g.Stop()
			if mode == "notify dielate" {
				// What a copy had accepted that dies by itself dies with it.
				if n := r.Failures[load.Reset] + r.Failures[load.EOF]; r.Failed != n || n > 4 {
					t.Errorf("%d requests have failed: %v", r.Failed, r.Failures)
				}
			} else {
				lossless(t, r)
			}
			if pid := h.pid(); pid != old {
				t.Errorf("process %d serves, want %d as before", pid, old)
			}
			for _, want := range wants {
				if !strings.Contains(h.Output(), want) {
					t.Errorf("the output has no %q", want)
				}
			}
			if _, own, _ := strings.Cut(h.Output(), "its standard error ended with"); strings.Contains(own, "line 10:") {
				t.Error("more than the last lines are repeated")
			}
			// And it goes on.
			write(t, h.mode, "notify")
			h.upgrade()
			h.Until("another process to answer", func() error {
				if h.pid() == old {
					return fmt.Errorf("the old one does")
				}
				return nil
			})
			h.end(0)
		})
	}
}

func TestAProgramThatIsMissingNowLeavesTheOldCopyServing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, mode := filepath.Join(dir, "app"), filepath.Join(dir, "mode")
	if err := os.Symlink(testProgram(t), path); err != nil {
		t.Fatal(err)
	}
	write(t, mode, "notify")
	h := hold(t, nil, path, "-mode", mode)
	old := h.pid()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	h.failingUpgrade()
	if h.pid() != old || !strings.Contains(h.Output(), "no such file") {
		t.Error("the old copy does not serve, or the cause is not told")
	}
	h.end(0)
}

func TestAnEnvironmentFileIsReadAnewAndAMalformedOneChangesNothing(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "env")
	write(t, file, "GREETING='one two'\n")
	h := holdOurs(t, "notify", "--env-file", file)
	if !strings.Contains(h.get("/env"), "GREETING=one two\n") {
		t.Error("the variable is not set")
	}
	old := h.pid()
	write(t, file, "GREETING='three\n")
	h.failingUpgrade()
	if h.pid() != old || !strings.Contains(h.Output(), "line 1: value of GREETING: a quote ' is not closed") {
		t.Error("the malformed file has changed something, or is not told of")
	}
	write(t, file, "GREETING=three\n")
	h.upgrade()
	h.answers("/env", "GREETING=three\n")
	h.end(0)
}

func TestAProgramThatDoesNotSpeakSdNotifyIsTakenAsReadyAfterASecond(t *testing.T) {
	t.Parallel()
	began := time.Now()
	h := holdOurs(t, "")
	if d := time.Since(began); d < time.Second {
		t.Errorf("ready after %v", d)
	}
	if !strings.Contains(h.Output(), "said nothing by sd_notify") {
		t.Error("nothing is said of it")
	}
	h.upgrade()
	h.end(0)
}

func TestACopyIsNotTakenAsReadyWithoutAWordWhenOneBeforeItSpokeSdNotify(t *testing.T) {
	t.Parallel()
	h := holdOurs(t, "late", "--probation", "1ms")
	for range 3 {
		began := time.Now()
		h.upgrade()
		if d := time.Since(began); d < 500*time.Millisecond {
			t.Errorf("ready after %v, and it says so after half a second", d)
		}
	}
	h.end(0)
}

// Both copies accept from one queue, and the old one answers everything with 200.
func TestTheOldCopyCanNotAnswerForTheNewOne(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{
		"http": {"--ready", "http=/healthz"},
		"exec": {"--ready", `exec=curl -fsS --noproxy '*' "http://$HANDOFF_ADDRESS/healthz"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "exec" {
				proctest.RequireTool(t, "curl")
			}
			h := holdOurs(t, "", append(flags, "--ready-timeout", readyTimeout)...)
			old := h.pid()
			g := h.load(load.NewConn())
			write(t, h.mode, "unready")
			h.failingUpgrade()
			h.Until("the failed copy to end", func() error { return h.copies(1) })
			if pid := h.pid(); pid != old {
				t.Errorf("process %d serves, want %d as before", pid, old)
			}
			write(t, h.mode, "")
			for range 5 {
				h.upgrade()
			}
			lossless(t, g.Stop())
			h.end(0)
		})
	}
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "handoff") // t.TempDir may be too long for an address
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestAUnixSocketIsAskedOfTheNewCopyAloneAndRemovedAtTheEnd(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "app.sock")
	mode := filepath.Join(t.TempDir(), "mode")
	write(t, mode, "")
	cmd := proctest.Command(handoffCommand(t), "run", "--probation", "50ms", "--ready", "http=/healthz", "--ready-timeout", readyTimeout,
		"-l", path, "--", testProgram(t), "-mode", mode)
	h := start(t, cmd, "127.0.0.1:1")
	h.saying("serves")
	write(t, mode, "unready")
	h.failingUpgrade()
	write(t, mode, "")
	for range 5 {
		h.upgrade()
	}
	h.end(0)
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket's file: %v", err)
	}
}

func TestWorkersAreReplacedOneAtATime(t *testing.T) {
	t.Parallel()
	h := holdOurs(t, "notify", "--workers", "3")
	h.Until("three workers", func() error { return h.copies(3) })
	g := h.load(load.NewConn())
	for range 3 {
		h.upgrade()
	}
	lossless(t, g.Stop())
	most := 0
	running := 0
	for line := range strings.Lines(h.Output()) {
		switch {
		case strings.Contains(line, "started generation 1 "):
			running++
		case strings.Contains(line, "started generation"):
			running++
			most = max(most, running)
		case strings.Contains(line, "asking generation"):
			running--
		}
	}
	if most != 4 {
		t.Errorf("%d copies ran at a time that nobody had asked to stop, want 4 at most", most)
	}
	h.Until("the old ones to end", func() error { return h.copies(3) })

	write(t, h.mode, "die")
	h.failingUpgrade()
	write(t, h.mode, "notify")
	h.Until("three workers", func() error { return h.copies(3) })
	h.end(0)
}

// copies fails unless the holder has n children.
func (h *holder) copies(n int) error {
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", h.Pid()))
	if err != nil {
		return err
	}
	var data []byte
	for _, path := range all {
		more, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		data = append(data, more...)
	}
	if got := len(strings.Fields(string(data))); got != n {
		return fmt.Errorf("it has %d children: %s", got, data)
	}
	return nil
}

func TestWhatAWrapperLeavesBehindIsAskedToStop(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "mode"), "notify")
	// The shell dies of SIGTERM, its child does not hear of it.
	script := filepath.Join(dir, "wrapper")
	write(t, script, fmt.Sprintf("%s -mode %s\necho never\n", testProgram(t), filepath.Join(dir, "mode")))
	// The program takes LISTEN_PID for another's, so it has no sockets; that is fine here.
	h := hold(t, []string{"--probation", "50ms", "--ready", "after=100ms"}, "/bin/sh", script)
	h.upgrade()
	h.Until("one shell", func() error { return h.copies(1) })
	h.end(128 + int(syscall.SIGTERM))
}

func TestACopyThatDoesNotStopIsKilled(t *testing.T) {
	t.Parallel()
	h := holdOurs(t, "notify deaf", "--stop-timeout", "300ms")
	h.upgrade()
	h.saying("killing it")
	h.Until("one copy", func() error { return h.copies(1) })
	h.end(128 + int(syscall.SIGKILL))
}

func TestAHangupDuringAnUpgradeMakesAnotherOneFollow(t *testing.T) {
	t.Parallel()
	h := holdOurs(t, "late")
	h.Signal(syscall.SIGHUP)
	h.saying("started generation 2")
	for range 5 {
		h.Signal(syscall.SIGHUP)
	}
	h.saying("generation 3 serves, after")
	h.Until("one copy", func() error { return h.copies(1) })
	if strings.Contains(h.Output(), "generation 4") {
		t.Error("more than one has followed")
	}
	h.end(0)
}
