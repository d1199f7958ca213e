package systemd

import (
	"fmt"
	"strings"
	"testing"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// userUnits are a manager of the user nobody (uid 65534), as user@.service is one, and
// its own units.
func userUnits(t *testing.T) map[string]string {
	units := map[string]string{
		"user.service": `
[Service]
User=nobody
Type=notify
Delegate=yes
RuntimeDirectory=user/65534
RuntimeDirectoryMode=0700
WorkingDirectory=/
Environment=XDG_RUNTIME_DIR=/run/user/65534 HOME=/run/user/65534
Environment=SYSTEMD_UNIT_PATH=/run/sdbox/units/user
Environment=SYSTEMD_GENERATOR_PATH=/nonexistent SYSTEMD_USER_ENVIRONMENT_GENERATOR_PATH=/nonexistent
ExecStart=/usr/lib/systemd/systemd --user
`,
		"user/default.target":             "[Unit]\nDescription=Default\nRequires=basic.target\nAfter=basic.target\n",
		"user/graceful.service":           example(t, unit),
		"user/graceful.service.d/to.conf": "[Service]\nRestartSec=50ms\nExecStart=\nExecStart=" + program + " " + quick + "\n",
	}
	for _, target := range []string{"basic", "shutdown", "exit", "sockets", "paths", "timers"} {
		units["user/"+target+".target"] = "[Unit]\nDescription=" + target + "\n"
	}
	return units
}

// inUserManager runs systemctl --user in the box as that user.
func (s service) inUserManager(args ...string) string {
	s.t.Helper()
	command := []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "XDG_RUNTIME_DIR=/run/user/65534", "systemctl", "--user", "--no-pager"}
	out, code := s.Exec(append(command, args...)...)
	if code != 0 {
		s.t.Fatalf("systemctl --user %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return strings.TrimSpace(out)
}

// userReached waits until a generation is the main process, as the user's manager sees it.
func (s service) userReached(generation int) (main reply) {
	s.t.Helper()
	proctest.Until(s.t, fmt.Sprintf("generation %d to be the main one", generation), func() error {
		r, err := s.ask("tcp")
		if err != nil {
			s.t.Fatalf("while generation %d was awaited a request failed: %v", generation, err)
		}
		if pid := s.inUserManager("show", "--value", "-p", "MainPID", unit); r.generation != generation || pid != fmt.Sprint(r.pid) {
			return fmt.Errorf("%+v serves, the main process is %s", r, pid)
		}
		if state := s.inUserManager("show", "--value", "-p", "ActiveState", unit); state != "active" {
			return fmt.Errorf("the service is %s", state)
		}
		main = r
		return nil
	})
	return main
}

func TestUnderAUserManagerItIsAllTheSame(t *testing.T) {
	t.Parallel()
	s := install(t, userUnits(t))
	s.Do("start", "user.service")
	s.inUserManager("start", unit)
	s.userReached(1)
	g := s.load(t, load.NewConn(), load.KeepAlive())
	for generation := 2; generation <= 4; generation++ {
		s.inUserManager("reload", unit)
		s.userReached(generation)
	}
	noLoss(t, g)
	show := func(property string) string { return s.inUserManager("show", "--value", "-p", property, unit) }
	if n, state := show("NRestarts"), show("ActiveState"); n != "0" || state != "active" {
		t.Errorf("after 3 upgrades the service is %s, NRestarts=%s", state, n)
	}
	before := s.sockets()
	s.inUserManager("kill", "--signal=KILL", "--kill-whom=main", unit)
	proctest.Until(t, "a restart", func() error {
		if n := show("NRestarts"); n != "1" {
			return fmt.Errorf("NRestarts=%s", n)
		}
		return nil
	})
	s.userReached(1) // which fails if it is refused
	if after := s.sockets(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("after the crash the sockets are %v, they were %v", after, before)
	}
	s.inUserManager("stop", unit)
	if result := show("Result"); result != "success" {
		t.Errorf("after the stop the result is %s", result)
	}
}
