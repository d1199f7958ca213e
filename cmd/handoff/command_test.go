package main

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/handoff-dev/handoff/internal/testenv"
)

// asCommand in the environment makes the test binary be the command, whole. A
// copy that the demo made is always so: it is the demo's server.
const asCommand = "TEST_AS_HANDOFF"

func TestMain(m *testing.M) {
	if isDemoServer() || os.Getenv(asCommand) != "" {
		main() // and ends
	}
	testenv.Settle()
	os.Exit(m.Run())
}

// call is a call of the command that ends at once.
type call struct {
	args   string
	code   int
	stdout string // contained in it; empty: nothing is there
	stderr string
}

func TestErrorsSayWhatToDoAndExitCodesTellTheirKind(t *testing.T) {
	t.Parallel()
	testCalls(t, []call{
		{"", exitOK, "Usage:", ""},
		{"--help", exitOK, "Exit codes: 0 all went well, 1 something failed, 2 called wrongly.", ""},
		{"version", exitOK, "handoff ", ""},
		{"version now", exitUsage, "", "hint: see 'handoff version --help'\n"},
		{"frobnicate", exitUsage, "", "error: unknown command \"frobnicate\" for \"handoff\"\nhint: see 'handoff --help'\n"},
	})
}

func testCalls(t *testing.T, calls []call) {
	t.Helper()
	for _, test := range calls {
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
