package systemd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
	"github.com/handoff-dev/handoff/test/internal/sdbox"
)

// rootVariable names the folder with the system to test with; without it that is the
// machine's own.
const rootVariable = "HANDOFF_TEST_SYSTEMD_ROOT"

// All tests of this package run again with a newer systemd, by a copy of this process.
func TestTheSameHoldsUnderNewerVersionsOfSystemd(t *testing.T) {
	proctest.RequireLong(t)
	if os.Getenv(rootVariable) != "" {
		t.Skip("this is the run with another system")
	}
	for suite, least := range map[string]int{"trixie": 257, "sid": 260} {
		t.Run(suite, func(t *testing.T) {
			root := debianRoot(t, suite)
			again := proctest.Command("/proc/self/exe", "-test.v", "-test.count=1", "-test.timeout=5m")
			again.Env = append(again.Env, rootVariable+"="+root, leastVariable+"="+strconv.Itoa(least))
			out, err := again.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if n := strings.Count(string(out), "\n--- PASS"); n < 50 {
				t.Errorf("only %d tests have passed:\n%s", n, out)
			}
			// Nothing is left out there but this test itself.
			if all := skipped.FindAllString(string(out), -1); len(all) != 1 || !strings.Contains(all[0], t.Name()[:strings.Index(t.Name(), "/")]) {
				t.Errorf("skipped under this systemd: %q", all)
			}
		})
	}
}

var skipped = regexp.MustCompile(`(?m)^ *--- SKIP: .*$`)

// leastVariable is the version of systemd that the root is to have at least.
const leastVariable = "HANDOFF_TEST_SYSTEMD_LEAST"

// The process 1 of the box is asked, and no file of the root.
func TestSystemdIsOfTheVersionThatIsToBeTested(t *testing.T) {
	t.Parallel()
	least := 252
	if text := os.Getenv(leastVariable); text != "" {
		var err error
		if least, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", leastVariable, err)
		}
	}
	if v := version(t, install(t).Box); v < least {
		t.Errorf("systemd %d runs, want %d or later", v, least)
	}
}

// debianRoot returns the folder of a Debian of another suite.
func debianRoot(t *testing.T, suite string) string {
	t.Helper()
	var said strings.Builder
	cmd := exec.Command("../debian-root", suite)
	cmd.Stderr = &said
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 3 {
		proctest.Missing(t, "a Debian %s can't be made: %s", suite, strings.TrimSpace(said.String()))
	}
	if err != nil {
		t.Fatalf("debian-root: %v\n%s", err, said.String())
	}
	return strings.TrimSpace(string(out))
}

// version returns that of the box's process 1.
func version(t *testing.T, b *sdbox.Box) (v int) {
	t.Helper()
	out, _ := b.Systemctl("show", "--value", "--property=Version")
	if _, err := fmt.Sscanf(out, "%d", &v); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	return v
}

// since skips the test where systemd is older.
func (s service) since(t *testing.T, least int, what string) {
	t.Helper()
	if v := version(t, s.Box); v < least {
		t.Skipf("systemd %d has no %s, which came with %d", v, what, least)
	}
}
