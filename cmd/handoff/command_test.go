package main

import (
	"context"
	"os"
	"strings"
	"testing"
)

// asCommand in the environment makes the test binary be the command, whole. A
// copy that the demo made is always so: it is the demo's server.
const asCommand = "TEST_AS_HANDOFF"

func TestMain(m *testing.M) {
	if _, err := ownVersion(); err == nil || os.Getenv(asCommand) != "" {
		main() // and ends
	}
	os.Exit(m.Run())
}

func TestErrorsSayWhatToDoAndExitCodesTellTheirKind(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args   string
		code   int
		stdout string // contained in it; empty: nothing is there
		stderr string
	}{
		{"", exitOK, "Usage:", ""},
		{"--help", exitOK, "Exit codes: 0 all went well, 1 something failed, 2 called wrongly.", ""},
		{"demo --help", exitOK, "--upgrades", ""},
		{"version", exitOK, "handoff ", ""},
		{"version now", exitUsage, "", "hint: see 'handoff version --help'\n"},
		{"frobnicate", exitUsage, "", "error: unknown command \"frobnicate\" for \"handoff\"\nhint: see 'handoff --help'\n"},
		{"demo --frobnicate", exitUsage, "", "error: unknown flag: --frobnicate\nhint: see 'handoff demo --help'\n"},
		{"demo --seconds=0", exitUsage, "", "error: --seconds is 0: want more than 0, and 3600 at most\nhint: see 'handoff demo --help'\n"},
		{"demo --seconds=NaN", exitUsage, "", "error: --seconds is NaN"},
		{"demo --workers=0", exitUsage, "", "error: --workers is 0"},
		{"demo --upgrades=-1", exitUsage, "", "error: --upgrades is -1"},
		{"demo-server", exitFailed, "", "error: this binary has no version of the demo: it is started by 'handoff demo' only\n"},
	} {
		var stdout, stderr strings.Builder
		code := run(context.Background(), strings.Fields(test.args), strings.NewReader(""), &stdout, &stderr)
		if code != test.code {
			t.Errorf("handoff %s: exit code %d, want %d", test.args, code, test.code)
		}
		for _, out := range []struct{ name, got, want string }{
			{"output", stdout.String(), test.stdout}, {"error output", stderr.String(), test.stderr},
		} {
			if !strings.Contains(out.got, out.want) || out.want == "" && out.got != "" {
				t.Errorf("handoff %s: %s is %q, want %q in it", test.args, out.name, out.got, out.want)
			}
		}
	}
}
