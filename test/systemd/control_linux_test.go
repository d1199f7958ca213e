package systemd

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

const command = "/usr/local/bin/handoff"

// reloadByCommand is a drop-in by which systemctl reload is `handoff upgrade`.
func reloadByCommand() map[string]string {
	return setting("reload", "ExecReload=\nExecReload="+command+" upgrade --wait --pid $MAINPID")
}

// installCommand puts the command into the box.
func (s service) installCommand() {
	s.t.Helper()
	file := proctest.Build(s.t, proctest.Program{Package: "./cmd/handoff", Dir: "../.."})
	text, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	s.WriteFile(command, text, 0o755)
}

const controlPath = "/run/graceful/control"

// controlled are drop-ins for a service with a control socket.
func controlled() map[string]string {
	return setting("control", "RuntimeDirectory=graceful\nExecStart=\nExecStart="+program+" -probation=50ms -control="+controlPath)
}

func TestAReloadByTheCommandFailsWithTheUpgradeAndTheServiceIsKept(t *testing.T) {
	t.Parallel()
	for how, units := range map[string]map[string]string{
		"control socket": controlled(),
		"signal":         flags(quick),
		"another user":   withUser(controlled()),
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s := install(t, units, reloadByCommand())
			s.installCommand()
			s.Do("start", unit)
			before := s.reached(1)
			for _, bad := range []string{"start", "before-ready", "no executable"} {
				if bad == "no executable" {
					s.WriteFile(program, []byte("no program at all"), 0o755)
				} else {
					s.install(proctest.Build(t, proctest.Program{Package: "./test/faulty", Dir: "../..", Ldflags: "-X main.fail=" + bad}))
				}
				if out, code := s.Systemctl("reload", unit); code == 0 {
					t.Errorf("%s: the reload has succeeded: %s", bad, out)
				}
				for property, want := range map[string]string{"ActiveState": "active", "SubState": "running", "MainPID": fmt.Sprint(before.pid), "NRestarts": "0"} {
					if got := s.Show(unit, property); got != want {
						t.Errorf("%s: %s is %s, want %s", bad, property, got, want)
					}
				}
			}
			s.replaceProgram("2")
			for generation := 2; generation <= 3; generation++ {
				if out, code := s.Systemctl("reload", unit); code != 0 {
					t.Fatalf("the reload: %d %s", code, out)
				}
				// No waiting: the reload was the upgrade.
				r, err := s.ask("tcp")
				if err != nil || r.generation != generation || r.version != "2" || s.MainPID(unit) != r.pid {
					t.Errorf("after the reload %+v serves (%v), the main process is %d", r, err, s.MainPID(unit))
				}
			}
			if how != "control socket" {
				return
			}
			log := s.Journal(unit)
			for _, part := range []string{"exit status 3", "faulty: failing at the start", "upgraded to generation 3"} {
				if !strings.Contains(log, part) {
					t.Errorf("the journal does not say %q", part)
				}
			}
			if _, err := os.Lstat(s.Path(controlPath)); err != nil {
				t.Error(err)
			}
			s.Do("stop", unit)
			if _, err := os.Lstat(s.Path(controlPath)); err == nil {
				t.Error("the control socket is left behind")
			}
		})
	}
}

func withUser(units map[string]string) map[string]string {
	for name, text := range units {
		units[name] = text + "User=nobody\n"
	}
	return units
}

func TestTheCommandFindsAServiceByItsUnitAndItsLastWordsInTheJournal(t *testing.T) {
	t.Parallel()
	// Its /run is not root's.
	s := install(t, controlled(), setting("private", "PrivateTmp=yes\nTemporaryFileSystem=/run/graceful:mode=0755"))
	s.installCommand()
	s.Do("start", unit)
	before := s.reached(1)
	s.install(proctest.Build(t, proctest.Program{Package: "./test/faulty", Dir: "../..", Ldflags: "-X main.fail=start"}))
	out, code := s.Exec(command, "upgrade", "--unit", "graceful")
	for _, part := range []string{"exit status 3", "  | faulty: failing at the start\n", fmt.Sprintf("generation 1 (pid %d) still serves", before.pid)} {
		if code != 1 || !strings.Contains(out, part) {
			t.Errorf("exit code %d, without %q: %s", code, part, out)
		}
	}
	s.replaceProgram("2")
	if out, code := s.Exec(command, "upgrade", "--unit", unit); code != 0 || !strings.HasPrefix(out, "upgraded to generation 2 ") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if out, code := s.Exec(command, "status", "--unit", unit); code != 0 || !strings.HasPrefix(out, "generation 2  serving  ") {
		t.Errorf("exit code %d: %s", code, out)
	}
	s.Do("stop", unit)
	for _, name := range []string{unit, "none"} {
		if out, code := s.Exec(command, "status", "--unit", name); code != 3 {
			t.Errorf("%s: exit code %d: %s", name, code, out)
		}
	}
}
