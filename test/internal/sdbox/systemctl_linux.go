package sdbox

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// commandTime is how long a command in the box may take.
const commandTime = 60 * time.Second

// Exec runs a command in the box, as root, and returns what it printed, on stdout and
// stderr, and its exit code: -1 when it did not run or was killed.
func (b *Box) Exec(command ...string) (output string, code int) {
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	args := append([]string{"--target", strconv.Itoa(b.pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd", "--"}, command...)
	cmd := exec.CommandContext(ctx, "nsenter", args...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0"}
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return string(out), 0
	case errors.As(err, &exit):
		return string(out), exit.ExitCode()
	}
	return string(out) + err.Error(), -1
}

// Systemctl runs systemctl in the box. See Exec.
func (b *Box) Systemctl(args ...string) (output string, code int) {
	return b.Exec(append([]string{"systemctl", "--no-pager", "--full"}, args...)...)
}

// Do runs systemctl in the box, and fails the test when it does not succeed.
func (b *Box) Do(args ...string) {
	b.t.Helper()
	if out, code := b.Systemctl(args...); code != 0 {
		b.t.Fatalf("systemctl %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
}

// Show returns a property of a unit, as systemctl show does.
func (b *Box) Show(unit, property string) string {
	b.t.Helper()
	value, err := b.show(unit, property)
	if err != nil {
		b.t.Fatal(err)
	}
	return value
}

func (b *Box) show(unit, property string) (string, error) {
	out, code := b.Systemctl("show", "--value", "--property="+property, "--", unit)
	if code != 0 {
		return "", fmt.Errorf("systemctl show %s %s: exit code %d: %s", unit, property, code, out)
	}
	return strings.TrimSuffix(out, "\n"), nil
}

// Wait waits until a property of a unit has a value.
func (b *Box) Wait(unit, property, value string) {
	b.t.Helper()
	b.WaitFor(unit, property, strconv.Quote(value), func(v string) bool { return v == value })
}

// WaitFor waits until a property of a unit is as it should be.
func (b *Box) WaitFor(unit, property, what string, ok func(value string) bool) {
	b.t.Helper()
	proctest.Until(b.t, fmt.Sprintf("%s of %s to be %s", property, unit, what), func() error {
		value, err := b.show(unit, property)
		if err == nil && !ok(value) {
			err = fmt.Errorf("it is %q", value)
		}
		return err
	})
}

// Journal returns the lines of a unit, with the process that wrote each: those of its
// processes, and those of PID 1 about it. More arguments go to journalctl.
func (b *Box) Journal(unit string, args ...string) string {
	return b.journal(append([]string{"-u", unit}, args...)...)
}

func (b *Box) journal(args ...string) string {
	out, _ := b.Exec(append([]string{"journalctl", "--no-pager", "-q", "-o", "short-monotonic"}, args...)...)
	return out
}
