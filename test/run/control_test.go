//go:build linux

package run

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

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

// over is a client of the control socket at path.
func over(t *testing.T, path string) *http.Client {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestAHolderIsStoppedByItsControlSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(runtimeDir(t), "control")
	h := holdOurs(t, "notify", "--control", path)
	finish := h.begin()
	res, err := over(t, path).Post("http://holder/v1/stop", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); res.StatusCode != http.StatusAccepted || !strings.Contains(string(text), `"stopping": true`) {
		t.Errorf("POST /v1/stop: %s, %s, %v", res.Status, text, err)
	}
	h.saying("SIGTERM: stopping")
	finish()
	h.exits(0)
	for _, want := range []string{"told to stop by the control socket", "has ended: exit status 0"} {
		if !strings.Contains(h.Output(), want) {
			t.Errorf("the output has no %q", want)
		}
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestTheEventsOfAHolderAreFollowed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(runtimeDir(t), "control")
	h := holdOurs(t, "notify", "--control", path)
	res, err := over(t, path).Get("http://holder/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	events := bufio.NewScanner(res.Body)
	next := func() (e handoff.Event) {
		t.Helper()
		if !events.Scan() {
			t.Fatalf("there are no more events: %v", events.Err())
		}
		if err := json.Unmarshal(events.Bytes(), &e); err != nil {
			t.Fatalf("%v: %s", err, events.Bytes())
		}
		return e
	}
	// until is what happens until there is an event of that type.
	until := func(last string) (all string) {
		t.Helper()
		for {
			e := next()
			if e.Schema != handoff.StatusSchema || e.PID != h.Pid() || e.Time.IsZero() {
				t.Errorf("the event is %+v", e)
			}
			all += " " + e.Type + e.Step
			switch {
			case e.Type != last:
				continue
			case last == "committed" && (e.Generation != 2 || e.Upgrade == nil || e.Upgrade.To != 2):
				t.Errorf("the event is %+v", e)
			case last == "failed" && (e.Generation != 2 || e.Upgrade == nil || e.Upgrade.FailedIn != "ready"):
				t.Errorf("the event is %+v", e)
			}
			return all
		}
	}
	h.upgrade()
	if got, want := until("committed"), " stepstart stepready stepprobation committed"; got != want {
		t.Errorf("during an upgrade there is%s, want%s", got, want)
	}
	write(t, h.mode, "die")
	h.failingUpgrade()
	if got, want := until("failed"), " stepstart stepready failed"; got != want {
		t.Errorf("during one that fails there is%s, want%s", got, want)
	}
	h.Signal(syscall.SIGTERM)
	until("stopping")
	if events.Scan() {
		t.Errorf("after the end there is %s", events.Bytes())
	}
	h.exits(0)
}

// abandoned leaves the file of a unix socket where nobody listens.
func abandoned(t *testing.T, path string) {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAHolderReplacesAControlSocketOnlyWhereNobodyListens(t *testing.T) {
	t.Parallel()
	dir := runtimeDir(t)
	path := filepath.Join(dir, "control")
	abandoned(t, path)
	h := holdOurs(t, "notify", "--control", path)
	if s := h.service(); s.PID != h.Pid() {
		t.Errorf("the status is %+v", s)
	}
	// A second holder does not take it away.
	cmd, addr, _ := ours(t, "notify", "--control", path)
	second := start(t, cmd, addr)
	second.exits(125)
	if want := "error: control socket: "; !strings.Contains(second.Output(), want) || !strings.Contains(second.Output(), "address already in use") {
		t.Errorf("the output has no %q and no cause", want)
	}
	h.upgradeByCommand()
	h.end(0)
	// Nor does one take the place of what is no socket.
	write(t, path, "precious")
	cmd, addr, _ = ours(t, "notify", "--control", path)
	third := start(t, cmd, addr)
	third.exits(125)
	if want := "hint: another process listens there, or a file that is no socket"; !strings.Contains(third.Output(), want) {
		t.Errorf("the output has no %q", want)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("the file is %q, %v", text, err)
	}
}

func TestAHolderRemovesTheControlSocketsOfKilledOnes(t *testing.T) {
	t.Parallel()
	cmd, addr, _ := ours(t, "notify")
	first := start(t, cmd, addr)
	first.saying("serves")
	program := proctest.Adopt(t, first.pid())
	left := socketOf(t, first)
	first.Stop(syscall.SIGKILL)
	program.Stop(syscall.SIGKILL)
	if _, err := os.Lstat(left); err != nil {
		t.Fatalf("a killed holder has left nothing: %v", err)
	}
	dir := filepath.Dir(left)
	alive := filepath.Join(dir, fmt.Sprintf("run-%d.sock", os.Getpid())) // not yet listened on, it may be
	young := filepath.Join(dir, fmt.Sprintf("run-%d.sock", 1<<30))
	others := filepath.Join(dir, "run-mine.sock")
	for _, path := range []string{alive, young, others} {
		abandoned(t, path)
	}
	heard := filepath.Join(dir, fmt.Sprintf("run-%d.sock", 1<<30+1)) // of another container, say
	ln, err := net.Listen("unix", heard)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	hour := time.Now().Add(-time.Hour)
	for _, path := range []string{left, alive, others, heard} {
		if err := os.Chtimes(path, hour, hour); err != nil {
			t.Fatal(err)
		}
	}
	again, addr, _ := ours(t, "notify")
	again.Env = append(again.Env, "XDG_RUNTIME_DIR="+filepath.Dir(dir))
	second := start(t, again, addr)
	second.saying("serves")
	if _, err := os.Lstat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what the killed one has left is still there: %v", err)
	}
	for _, path := range []string{alive, young, others, heard, socketOf(t, second)} {
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("it is gone: %v", err)
		}
	}
	second.end(0)
}

// socketOf is where the holder's control socket is by default.
func socketOf(t *testing.T, h *holder) (path string) {
	t.Helper()
	for _, pair := range h.Cmd.Env { // the last one counts
		if dir, ok := strings.CutPrefix(pair, "XDG_RUNTIME_DIR="); ok {
			path = filepath.Join(dir, "handoff", fmt.Sprintf("run-%d.sock", h.Pid()))
		}
	}
	return path
}
