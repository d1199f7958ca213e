//go:build unix

package testenv

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A child with this variable plays a test run, and its child.
const playVariable = "TEST_PLAY"

func TestMain(m *testing.M) {
	if os.Getenv(playVariable) == "" {
		os.Exit(m.Run())
	}
	Settle()
	cmd := exec.Command("sh", "-c", "umask; kill -HUP $$; echo lives")
	cmd.Stdout = os.Stdout
	if err := cmd.Run(); err == nil || !strings.Contains(err.Error(), "hangup") {
		os.Stdout.WriteString("not ended by SIGHUP\n")
	}
	os.Exit(0)
}

func TestChildrenHaveTheUsualSurroundings(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, starter := range []string{"", "umask 077; trap '' HUP; "} {
		cmd := exec.Command("sh", "-c", starter+`exec "$0"`, self)
		cmd.Env = append(os.Environ(), playVariable+"=1", "GORACE=atexit_sleep_ms=0")
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != "0022\n" {
			t.Errorf("%q: %v: %s", starter, err, out)
		}
	}
}
