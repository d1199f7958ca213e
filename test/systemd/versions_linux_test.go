package systemd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
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
	for _, suite := range []string{"trixie", "sid"} {
		t.Run(suite, func(t *testing.T) {
			root := debianRoot(t, suite)
			version, err := exec.Command("chroot", root, "systemctl", "--version").Output()
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s", version)
			again := proctest.Command("/proc/self/exe", "-test.v", "-test.count=1", "-test.timeout=10m")
			again.Env = append(again.Env, rootVariable+"="+root)
			out, err := again.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if n := strings.Count(string(out), "--- PASS"); n < 20 {
				t.Errorf("only %d tests have passed:\n%s", n, out)
			}
		})
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

// version returns that of the box's systemd.
func version(t *testing.T, b *sdbox.Box) (v int) {
	t.Helper()
	out, _ := b.Systemctl("--version")
	if _, err := fmt.Sscanf(out, "systemd %d", &v); err != nil {
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
