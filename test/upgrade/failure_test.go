//go:build linux

package upgrade

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestAFailedUpgradeCostsNothingAndTheNextOneWorks(t *testing.T) {
	write := func(t *testing.T, content string, mode os.FileMode) string {
		path := filepath.Join(t.TempDir(), "executable")
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, failure := range []struct {
		name    string
		install func(*testing.T, *graceful.Server)
		log     string // what the log says about the cause
	}{
		{"MissingFile", func(t *testing.T, s *graceful.Server) {
			if err := os.Remove(s.Path); err != nil {
				t.Fatal(err)
			}
		}, "no such file or directory"},
		{"NotExecutable", func(t *testing.T, s *graceful.Server) { s.Install(write(t, "#!/bin/sh\n", 0o644)) }, "permission denied"},
		{"NoExecutableFormat", func(t *testing.T, s *graceful.Server) { s.Install(write(t, "\x7fELF", 0o755)) }, "exec format error"},
		{"ExitAtStart", func(t *testing.T, s *graceful.Server) { s.Install(graceful.Faulty(t, "start")) }, "exit status 3"},
		{"ExitBeforeReady", func(t *testing.T, s *graceful.Server) { s.Install(graceful.Faulty(t, "before-ready")) }, "about to fail"},
		{"ExitInProbation", func(t *testing.T, s *graceful.Server) { s.Install(graceful.Faulty(t, "after-ready")) }, "(probation): exit status 3"},
		{"ReadyAndGone", func(t *testing.T, s *graceful.Server) { s.Install(graceful.Faulty(t, "ready-exit")) }, "the successor exited"},
		{"Hang", func(t *testing.T, s *graceful.Server) { s.Install(graceful.Faulty(t, "hang")) }, "not ready in time"},
		{"HangThatIgnoresSIGTERM", func(t *testing.T, s *graceful.Server) { s.Install(graceful.Faulty(t, "hang-hard")) }, "not ready in time"},
	} {
		t.Run(failure.name, func(t *testing.T) {
			t.Parallel()
			s := graceful.Start(t, "-ready-timeout", "1s", "-probation", "300ms")
			g, err := load.StartGroup(t.Context(),
				load.Config{Target: load.Target{Addr: s.HTTP}, Shape: load.NewConn(), Workers: 2, Rate: 200},
				load.Config{Target: load.Target{Addr: s.HTTP}, Shape: load.Think(20 * time.Millisecond), Workers: 2})
			if err != nil {
				t.Fatal(err)
			}
			old := s.Main()
			failure.install(t, s)
			s.Signal(old, syscall.SIGHUP)
			s.First.Until("the failure is in the log", func() error {
				if !strings.Contains(s.First.Output(), "upgrade failed") {
					return fmt.Errorf("it says %s", s.First.Output())
				}
				return nil
			})
			if !strings.Contains(s.First.Output(), failure.log) {
				t.Errorf("the log does not say %q", failure.log)
			}
			if pid := s.Main(); pid != old {
				t.Errorf("the main generation is %d, not %d any more", pid, old)
			}
			if s.Upgrade() == old {
				t.Error("the next upgrade did not work")
			}
			r := g.Stop()
			s.Stop()
			if strings.HasPrefix(failure.name, "ExitInProbation") || failure.name == "ReadyAndGone" {
				// It was ready and accepted, then died: what it held is lost with it,
				// but no connection was refused.
				if n := r.Failures[load.Refused] + r.Failures[load.Connect] + r.Failures[load.Timeout]; n > 0 {
					t.Errorf("%d connections were refused: %v", n, r.Failures)
				}
				return
			}
			graceful.NoLoss(t, r)
		})
	}
}

func TestAServerThatCanNotBindSaysWhoHasTheAddress(t *testing.T) {
	s := graceful.Start(t)
	cmd := proctest.Command(graceful.Build(t, "1"), "-http", s.HTTP)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "address already in use") {
		t.Errorf("a second server on the same address: %v, output %q", err, out)
	}
	s.Stop()
}
