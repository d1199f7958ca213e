//go:build linux

package exec

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// A watcher runs a shell script, and runs it again when the file changes.
var watchers = map[string]func(t *testing.T, script string) []string{
	"entr": func(t *testing.T, script string) []string {
		return []string{proctest.RequireTool(t, "entr"), "-n", "-r", "sh", script}
	},
	"reflex": func(t *testing.T, script string) []string {
		reflex := proctest.Build(t, proctest.Program{Dir: "../tools", Package: "github.com/cespare/reflex"})
		return []string{reflex, "-s", "-t", "10s", "-g", filepath.Base(script), "--", "sh", script}
	},
}

// Neither Debian nor the Go proxy nor npm has watchexec, so it is tried where it is there.
func init() {
	if watchexec, err := exec.LookPath("watchexec"); err == nil {
		watchers["watchexec"] = func(_ *testing.T, script string) []string {
			return []string{watchexec, "--restart", "--watch", script, "--", "sh", script}
		}
	}
}

func TestTheSocketOutlivesEachRestartByAWatcher(t *testing.T) {
	t.Parallel()
	const server = "github.com/handoff-dev/handoff/examples/graceful"
	built := func(t *testing.T, version int) string {
		return proctest.Build(t, proctest.Program{Package: server, Ldflags: fmt.Sprintf("-X main.version=%d", version)})
	}
	for name, watcher := range watchers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			restarts(t, watcher, built)
		})
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	here = "'" + strings.ReplaceAll(here, "'", `'\''`) + "'" // for the shell
	t.Run("entr and go run", func(t *testing.T) {
		t.Parallel()
		restarts(t, watchers["entr"], func(t *testing.T, version int) string {
			return fmt.Sprintf("go run -C %s -ldflags '-X main.version=%d' %s", here, version, server)
		})
	})
}

// restarts has a watcher start the server of another version, twice, while clients come.
func restarts(t *testing.T, watcher func(*testing.T, string) []string, server func(t *testing.T, version int) string) {
	dir, addr := t.TempDir(), address(t)
	script := filepath.Join(dir, "start")
	change := func(version int) {
		t.Helper()
		if err := os.WriteFile(script, []byte("exec "+server(t, version)+" -drain 5s\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	change(1)
	cmd := handoff(t, append([]string{"exec", "-q", "--no-pid", "-l", "http=" + addr, "--"}, watcher(t, script)...)...)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(script + "\n") // entr reads there what to watch
	p := proctest.Start(t, cmd)
	pid := answers(t, p, addr, 1, func() {})
	g, err := load.StartGroup(t.Context(), load.Config{Target: load.Target{Addr: addr}, Shape: load.NewConn(), Workers: 4, Rate: 200, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for version := 2; version <= 3; version++ {
		changed := time.Now()
		change(version)
		pid = answers(t, p, addr, version, func() {
			// entr does not see a change in the first moments of what it has started.
			if time.Since(changed) > time.Second {
				changed = time.Now()
				change(version)
			}
		})
	}
	r := g.Stop()
	t.Logf("%d requests, %d failed, answered by %d processes", r.Requests, r.Failed, len(r.PIDs))
	if r.Failed > 0 || len(r.PIDs) < 3 {
		t.Errorf("%d of %d requests have failed, want none: %v; %d processes have answered, want 3 at least", r.Failed, r.Requests, r.Failures, len(r.PIDs))
	}
	last := proctest.Adopt(t, pid)
	p.Stop(syscall.SIGTERM)
	last.Stop(syscall.SIGTERM)
}

// answers waits until the server of that version answers, and returns its pid. For each
// answer of another one it calls other.
func answers(t *testing.T, p *proctest.Process, addr string, version int, other func()) (pid int) {
	t.Helper()
	p.Until(fmt.Sprintf("version %d", version), func() error {
		body, err := get(t, addr)
		if err == nil && !strings.HasSuffix(body, fmt.Sprintf("version=%d\n", version)) {
			err = fmt.Errorf("the answer is %q", body)
			other()
		}
		if err == nil {
			_, err = fmt.Sscanf(body, "pid=%d", &pid)
		}
		return err
	})
	return pid
}
