//go:build linux

package exec

import (
	"strings"
	"testing"
)

// Between the command and the program that is to have the sockets there may be others,
// which start it as their child: then nobody knows its pid beforehand.
func TestWithoutAPidTheSocketsReachAProgramThroughItsWrappers(t *testing.T) {
	t.Parallel()
	for name, wrapper := range map[string][]string{
		"a shell": {"sh", "-c", `"$@"; exit $?`, "sh", binary(t)},
		"go run":  {"go", "run", "github.com/handoff-dev/handoff/cmd/handoff"},
	} {
		args := append([]string{"exec", "-q", "--no-pid", "-l", "web=127.0.0.1:0", "--"}, append(wrapper, "inspect")...)
		out, err := handoff(t, args...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "3   web   TCP listener") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	// The counterpart: with the pid the child knows that it is not meant.
	out, err := handoff(t, "exec", "-q", "-l", "web=127.0.0.1:0", "--", "sh", "-c", `"$1" inspect; exit $?`, "sh", binary(t)).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "LISTEN_PID means another process") {
		t.Errorf("with the pid: %v\n%s", err, out)
	}
}
