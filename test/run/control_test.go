//go:build linux

package run

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// tell calls a command of handoff for the holder, by its pid.
func (h *holder) tell(args ...string) (code int, stdout, stderr string) {
	h.t.Helper()
	cmd := exec.CommandContext(proctest.Context(h.t), handoffCommand(h.t), append(args, "--pid", strconv.Itoa(h.Pid()))...)
	var out, err strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &err
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		h.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

// service is what "handoff status" knows.
func (h *holder) service() (s handoff.ServiceStatus) {
	h.t.Helper()
	code, text, stderr := h.tell("status", "--json")
	if code != 0 {
		h.t.Fatalf("handoff status: exit code %d: %s", code, stderr)
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		h.t.Fatal(err)
	}
	return s
}

// upgradeByCommand upgrades, and returns the new copy's pid.
func (h *holder) upgradeByCommand() int {
	h.t.Helper()
	old := h.pid()
	code, text, stderr := h.tell("upgrade")
	if code != 0 || !strings.Contains(text, "upgraded to generation") {
		h.t.Fatalf("handoff upgrade: exit code %d, %q, %q", code, text, stderr)
	}
	pid := h.service().Workers[0].PID
	h.Until("the new copy alone to answer", func() error { return h.copies(1) })
	if now := h.pid(); now == old || now != pid {
		h.t.Errorf("process %d answers, and was %d; the status says %d", now, old, pid)
	}
	return pid
}

func TestACommandUpgradesWhatAHolderHolds(t *testing.T) {
	t.Parallel()
	path := filepath.Join(runtimeDir(t), "app", "control")
	h := holdOurs(t, "notify", "--control", path)
	for name, want := range map[string]os.FileMode{path: 0o600 | os.ModeSocket, filepath.Dir(path): 0o700 | os.ModeDir} {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want mode %v", name, info, err, want)
		}
	}
	pid := h.upgradeByCommand()
	s := h.service()
	if s.Kind != "run" || s.PID != h.Pid() || s.Generation != 2 || s.Phase != "serving" ||
		len(s.Listeners) != 1 || s.Listeners[0].Name != "http" || s.Listeners[0].Address != h.addr {
		t.Errorf("the status is %+v", s)
	}
	if len(s.Upgrades) != 1 || s.Upgrades[0].Outcome != "committed" || s.Upgrades[0].From != 1 || s.Upgrades[0].To != 2 || s.Upgrades[0].PID != pid || len(s.Upgrades[0].Phases) != 3 {
		t.Errorf("the history is %+v", s.Upgrades)
	}
	if _, text, _ := h.tell("status"); !strings.Contains(text, "generation 2  pid "+strconv.Itoa(pid)) {
		t.Errorf("the status does not name the copy:\n%s", text)
	}
	h.end(0)
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestACommandTellsWhyAnUpgradeOfAHolderHasFailed(t *testing.T) {
	t.Parallel()
	h := holdOurs(t, "notify")
	pid := h.pid()
	write(t, h.mode, "die")
	code, _, stderr := h.tell("upgrade")
	for _, want := range []string{"nothing has changed", "exit status 3", "line 30: the database can't be opened", "generation 1 (pid " + strconv.Itoa(pid) + ") still serves"} {
		if code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("exit code %d, want 1, and %q in\n%s", code, want, stderr)
		}
	}
	if h.pid() != pid {
		t.Error("another copy answers")
	}
	s := h.service()
	if s.Generation != 1 || len(s.Upgrades) != 1 || s.Upgrades[0].FailedIn != "ready" || !strings.Contains(s.Upgrades[0].Output, "line 30") {
		t.Errorf("the status is %+v", s)
	}
	write(t, h.mode, "notify")
	h.upgradeByCommand()
	h.end(0)
}

func TestAnUpgradeOfAHolderIsGivenUpInTheClientsTime(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{"silent": {"--ready", "notify"}, "notify": {"--probation", "1h"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := holdOurs(t, "notify", flags...)
			pid := h.pid()
			write(t, h.mode, name)
			if code, _, stderr := h.tell("upgrade", "--timeout", "300ms"); code != 4 {
				t.Errorf("exit code %d, want 4: %s", code, stderr)
			}
			h.Until("the new copy to end", func() error { return h.copies(1) })
			if h.pid() != pid {
				t.Error("another copy answers")
			}
			h.end(0)
		})
	}
}

func TestAHolderThatHasUpgradedItselfIsStillControlled(t *testing.T) {
	t.Parallel()
	h, path := holdBy(t, "notify")
	h.upgradeByCommand()
	h.reexec()
	if s := h.service(); s.PID != h.Pid() || s.Generation != 2 || len(s.Upgrades) != 1 {
		t.Errorf("the status is %+v", s)
	}
	h.upgradeByCommand()
	// It passes the check, and is gone when it is to be executed.
	script := filepath.Join(t.TempDir(), "script")
	write(t, script, "#!/bin/sh\nrm \"$0\"\necho handoff run state 1\n")
	install(t, script, path)
	h.Signal(syscall.SIGUSR2)
	h.saying("becoming " + path)
	h.saying("the holder's own upgrade has failed")
	h.upgradeByCommand()
	h.end(0)
}

func TestAHolderEndsOnlyForAControlSocketThatWasAskedFor(t *testing.T) {
	t.Parallel()
	cmd, addr, _ := ours(t, "notify", "--control", "/dev/null/control")
	h := start(t, cmd, addr)
	h.exits(125)
	cmd, addr, _ = ours(t, "notify")
	cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR=/dev/null")
	h = start(t, cmd, addr)
	h.saying("there is no control socket: ")
	h.saying("serves")
	if code, _, _ := h.tell("status"); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	h.end(0)
}
