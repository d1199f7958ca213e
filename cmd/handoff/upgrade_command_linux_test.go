package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/doctor"
)

func TestAnUpgradeSaysThatExecStartHasChanged(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "proc/100"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "proc/100/cmdline"), []byte("/opt/v1/app\x00-v\x00"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/opt/v1/app", filepath.Join(root, "proc/100/exe")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ start, outcome, want string }{
		{"/opt/v1/app", "committed", ""},
		{"/opt/v2/app", "failed", ""},
		{"/opt/v2/app", "committed", `warning: ExecStart= of app.service has changed, and an upgrade starts what runs: it runs "/opt/v1/app", and ExecStart= names "/opt/v2/app" by now; `},
	} {
		system := doctor.System{Root: root, Systemctl: func(context.Context, ...string) (string, error) {
			return "MainPID=100\nRootDirectory=\nRootImage=\nExecStart={ path=" + test.start + " ; argv[]=" + test.start + " -v ; ignore_errors=no ; pid=0 }\n", nil
		}}
		var out strings.Builder
		warnOfCommand(t.Context(), &out, service{unit: "app.service"}, handoff.UpgradeAnswer{Outcome: test.outcome, PID: 100}, system)
		if got := out.String(); !strings.HasPrefix(got, test.want) || (got == "") != (test.want == "") || strings.Count(got, "\n") > 1 {
			t.Errorf("ExecStart=%s, %s: %q, want %q", test.start, test.outcome, got, test.want)
		}
	}
}
