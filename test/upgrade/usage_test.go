//go:build linux

package upgrade

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestAMistakeInTheFlagsGetsOneLineAndStatus2(t *testing.T) {
	for _, args := range [][]string{
		{"-bogus"}, {"-probation", "x"}, {"-drain", "-5s"}, {"extra"}, {"-http", ""},
		{"-http", "127.0.0.1"}, {"-http", "127.0.0.1:99999"}, {"-http", "", "-udp", "localhost"},
	} {
		out, err := proctest.Command(graceful.Build(t, "1"), args...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%q: %v, output %q", args, err, out)
		}
	}
}
