package systemd

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	units "github.com/handoff-dev/handoff/internal/unit"
	"github.com/handoff-dev/handoff/test/internal/proctest"
	"github.com/handoff-dev/handoff/test/internal/sdbox"
)

// doctor puts the command into the box and runs "handoff doctor" there. It returns
// the severities and names of the findings.
func (s service) doctor(args ...string) (findings []string, code int) {
	s.t.Helper()
	const path = "/usr/local/bin/handoff"
	if _, err := os.Stat(s.Path(path)); err != nil {
		command := proctest.Build(s.t, proctest.Program{Package: "./cmd/handoff", Dir: "../.."})
		data, err := os.ReadFile(command)
		if err != nil {
			s.t.Fatal(err)
		}
		executable(s.t, s.Box, path, data)
	}
	out, code := s.Exec(append([]string{path, "doctor"}, args...)...)
	for _, m := range regexp.MustCompile(`(?m)^\S+: (error|warning|note): .* \[(\S+)\]$`).FindAllStringSubmatch(out, -1) {
		findings = append(findings, m[1]+" "+m[2])
	}
	if len(findings) == 0 && out != unit+": nothing found\n" {
		s.t.Errorf("handoff doctor, exit code %d, prints\n%s", code, out)
	}
	return findings, code
}

// executable writes a program into the box, by a process of its own: a child that
// another test starts just now would have a file that this one writes open as well,
// and it could not be executed.
func executable(t testing.TB, box *sdbox.Box, path string, data []byte) {
	t.Helper()
	box.WriteFile(path+".data", data, 0o755)
	if out, code := box.Exec("cp", path+".data", path); code != 0 {
		t.Fatalf("cp: exit code %d: %s", code, out)
	}
}

func (s service) findings(want ...string) {
	s.t.Helper()
	got, code := s.doctor(unit)
	wantCode := 0
	if slices.ContainsFunc(want, func(f string) bool { return !strings.HasPrefix(f, "note ") }) {
		wantCode = 1
	}
	if !slices.Equal(got, want) || code != wantCode {
		s.t.Errorf("handoff doctor finds %q, exit code %d, want %q, %d", got, code, want, wantCode)
	}
}

func TestDoctorFindsNothingInTheExampleBeforeAndAfterAnUpgrade(t *testing.T) {
	t.Parallel()
	s := install(t, httpSocket(t), flags(quick))
	s.startSockets(httpSocket(t))
	s.findings()
	s.reached(1)
	s.findings()
	s.upgrade(2)
	s.findings()
	// Without a name it finds the service by its program.
	if found, code := s.doctor(); len(found) != 0 || code != 0 {
		t.Errorf("without a name: %q, exit code %d", found, code)
	}
}

func TestDoctorReadsWhatSystemdMakesOfTheSettings(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lines string
		want  []string
	}{
		"a simple service":              {"Type=simple\nNotifyAccess=none\nFileDescriptorStoreMax=0", []string{"warning type-simple", "error notify-access-none", "note fd-store-none"}},
		"none is main with Type=notify": {"NotifyAccess=none", nil},
		"the main process": {"PIDFile=/run/x.pid\nExitType=cgroup\nRemainAfterExit=yes",
			[]string{"warning pid-file", "warning exit-type-cgroup", "warning remain-after-exit"}},
		"stop and start":           {"KillMode=mixed\nSendSIGHUP=yes\nTimeoutStopSec=5\nRestart=no\nKillSignal=SIGQUIT", []string{"error kill-mode-mixed", "warning kill-signal", "error send-sighup", "warning stop-timeout", "warning restart-no"}},
		"no reload":                {"ExecReload=", []string{"warning exec-reload-missing"}},
		"the watchdog":             {"WatchdogSec=1min", []string{"note watchdog"}},
		"allowed families":         {"RestrictAddressFamilies=AF_INET", []string{"error address-families"}},
		"no families":              {"RestrictAddressFamilies=none", []string{"error address-families"}},
		"families that are enough": {"RestrictAddressFamilies=AF_INET AF_UNIX", nil},
		"calls":                    {"SystemCallFilter=~socketpair", []string{"error system-calls"}},
		"calls that are enough":    {"SystemCallFilter=@system-service\nSystemCallFilter=~@resources @privileged", nil},
		"no /proc":                 {"InaccessiblePaths=/proc", []string{"error proc-hidden"}},
		"a shell":                  {"ExecStart=\nExecStart=/bin/sh -c '/usr/local/bin/graceful; exit 1'", []string{"warning wrapper-command"}},
		"a part of the stop":       {"KillMode=process", []string{"error kill-mode-process"}},
		"no stop":                  {"KillMode=none", []string{"error kill-mode-none"}},
		"a reload of all":          {"ExecReload=\nExecReload=/bin/pkill -HUP graceful", []string{"warning exec-reload-all"}},
		"a short reload":           {"TimeoutStartSec=20\nExecReload=\nExecReload=/bin/kill --wait $MAINPID", []string{"warning reload-timeout"}},
		"little memory":            {"MemoryMax=1G\nOOMPolicy=stop", []string{"note memory-limit"}},
		"no program":               {"ExecStart=\nExecStart=/usr/local/bin/gone", []string{"error program-missing"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := install(t, httpSocket(t), setting("test", test.lines))
			s.startSockets(httpSocket(t))
			s.findings(test.want...)
		})
	}
}

func TestWhatDoctorSaysOfASandboxIsWhatComesOfIt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lines string
		fails string // the finding of what fails an upgrade
	}{
		"dup3":           {"SystemCallFilter=~dup3\nSystemCallErrorNumber=EPERM", "error system-calls"},
		"pipe2":          {"SystemCallFilter=~pipe2\nSystemCallErrorNumber=EPERM", "error system-calls"},
		"socketpair":     {"SystemCallFilter=~socketpair\nSystemCallErrorNumber=EPERM", "error system-calls"},
		"no /proc":       {"InaccessiblePaths=/proc", "error proc-hidden"},
		"NotifyAccess":   {"Type=simple\nNotifyAccess=none\nFileDescriptorStoreMax=0", "error notify-access-none"},
		"other calls":    {"SystemCallFilter=~pidfd_open pidfd_send_signal waitid wait4\nSystemCallErrorNumber=EPERM", ""},
		"a good sandbox": {"DynamicUser=yes\nNoNewPrivileges=yes\nProtectProc=invisible\nProcSubset=pid\nPrivateUsers=yes\nMemoryDenyWriteExecute=yes\nRestrictNamespaces=yes\nRestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX\nSystemCallFilter=@system-service\nSystemCallFilter=~@privileged @resources", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := install(t, httpSocket(t), setting("sandbox", test.lines))
			s.startSockets(httpSocket(t))
			s.reached(1)
			found, _ := s.doctor(unit)
			if test.fails == "" {
				if len(found) > 0 {
					t.Errorf("handoff doctor finds %q", found)
				}
				s.upgrade(2)
				return
			}
			if !slices.Contains(found, test.fails) {
				t.Errorf("handoff doctor finds %q, and not %q", found, test.fails)
			}
			s.Do("reload", unit)
			s.logged("upgrade failed")
			s.reached(1)
		})
	}
}

func TestDoctorSeesThatAShellIsTheMainProcess(t *testing.T) {
	t.Parallel()
	s := install(t, setting("shell", "NotifyAccess=all\nExecStart=\nExecStart=/bin/sh -c '/usr/local/bin/graceful; exit 1'"))
	s.Do("start", unit)
	s.findings("warning notify-access-all", "error wrapper")
}

func TestDoctorSeesASocketUnitThatIsOff(t *testing.T) {
	t.Parallel()
	s := install(t, httpSocket(t))
	s.Do("start", unit)
	s.findings("warning socket-inactive")
}

func TestDoctorSeesAMainProcessThatIsAnothersChildAndTakesItsVariablesForAnothers(t *testing.T) {
	t.Parallel()
	// A program that starts its successor as its child, and leaves the variables alone.
	s := install(t, httpSocket(t), setting("alien", "NotifyAccess=all\nWatchdogSec=10min\nExecStart=\n"+
		"ExecStart=/bin/sh -c '"+program+" -http=127.0.0.1:8090 & systemd-notify --pid=$$! --ready; wait'"))
	s.startSockets(httpSocket(t))
	s.Do("start", unit)
	s.logged("not our child")
	want := []string{"warning notify-access-all", "note watchdog", "error alien-main", "error watchdog-pid", "error listen-pid"}
	if version(t, s.Box) >= 259 {
		want = append(want, "error listen-pidfdid")
	}
	s.findings(want...)
}

func TestDoctorSeesAProcessWithoutANotifySocket(t *testing.T) {
	t.Parallel()
	s := install(t, httpSocket(t), setting("unset", "Type=exec\nUnsetEnvironment=NOTIFY_SOCKET"))
	s.startSockets(httpSocket(t))
	s.findings("warning type-exec")
	if _, err := s.ask("tcp"); err != nil {
		t.Fatal(err)
	}
	s.findings("warning type-exec", "error notify-socket-absent")
}

func TestDoctorKnowsTheSettingsOfNewerVersions(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		since       int
		lines       string
		want, older []string
	}{
		"two signals":     {253, "Type=notify-reload", []string{"error exec-reload-twice"}, []string{"error notify-reload-unknown"}},
		"another signal":  {253, "Type=notify-reload\nExecReload=\nReloadSignal=SIGUSR1", []string{"warning reload-signal"}, []string{"error notify-reload-unknown", "warning exec-reload-missing"}},
		"a dropped store": {254, "FileDescriptorStorePreserve=no", []string{"warning fd-store-dropped"}, nil},
		"a restart mode":  {254, "RestartMode=direct", []string{"note restart-mode"}, nil},
		"a pid namespace": {257, "PrivatePIDs=yes", []string{"error private-pids"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := example(t, unit)
			if strings.HasPrefix(test.lines, "Type=") { // not besides another one, which would count for older versions
				text = strings.Replace(text, "\nType=notify\n", "\n", 1)
			}
			s := install(t, httpSocket(t), map[string]string{unit: text}, setting("test", test.lines))
			s.startSockets(httpSocket(t))
			if version(t, s.Box) >= test.since {
				s.findings(test.want...)
			} else {
				s.findings(test.older...)
			}
		})
	}
}

func TestDoctorSeesWhatIsWrongWithSocketUnits(t *testing.T) {
	t.Parallel()
	t.Run("names", func(t *testing.T) {
		t.Parallel()
		units := map[string]string{
			"graceful.socket":   "[Socket]\nListenStream=127.0.0.1:8080\nListenStream=127.0.0.1:8081\nFileDescriptorName=http\n",
			"graceful-b.socket": "[Socket]\nListenStream=/run/b\nService=" + unit + "\n",
		}
		s := install(t, units)
		s.startSockets(units)
		s.findings("warning socket-names-shared", "warning socket-name-default")
	})
	t.Run("a service for each connection", func(t *testing.T) {
		t.Parallel()
		s := install(t, map[string]string{
			"each.socket":   "[Socket]\nAccept=yes\nListenStream=127.0.0.1:7\n",
			"each@.service": example(t, unit),
		})
		s.Do("start", "each.socket")
		conn, err := s.DialContext(proctest.Context(t), "tcp", "127.0.0.1:7")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		each := ""
		proctest.Until(t, "the service of a connection", func() error {
			out, _ := s.Systemctl("list-units", "--plain", "--no-legend", "--all", "each@*")
			if each, _, _ = strings.Cut(out, " "); !strings.HasPrefix(each, "each@") {
				return fmt.Errorf("the units are %q", out)
			}
			return nil
		})
		if found, code := s.doctor(each); code != 1 || !slices.Contains(found, "error socket-accept") {
			t.Errorf("handoff doctor finds %q, exit code %d", found, code)
		}
	})
}

func TestDoctorTellsItsFindingsToPrograms(t *testing.T) {
	t.Parallel()
	s := install(t, httpSocket(t), setting("test", "KillMode=process"))
	s.startSockets(httpSocket(t))
	s.doctor(unit) // which installs the command
	type finding struct{ ID, Severity, What, Mend string }
	var got []struct {
		Unit             string
		Systemd, MainPID int
		Findings         []finding
	}
	out, code := s.Exec(command, "doctor", "--json", "graceful")
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 1 || len(got) != 1 {
		t.Fatalf("exit code %d, %v:\n%s", code, err, out)
	}
	r := got[0]
	if r.Unit != unit || r.Systemd != version(t, s.Box) || r.MainPID != 0 || len(r.Findings) != 1 || r.Findings[0].ID != "kill-mode-process" ||
		r.Findings[0].Severity != "error" || r.Findings[0].What == "" || r.Findings[0].Mend == "" {
		t.Errorf("%+v", r)
	}
	for args, want := range map[string]int{"doctor --nonsense": 2, "doctor graceful.socket": 2, "doctor nobody": 3, "doctor": 3} {
		if out, code := s.Exec(append([]string{command}, strings.Fields(args)...)...); code != want {
			t.Errorf("handoff %s: exit code %d, want %d: %s", args, code, want, out)
		}
	}
}

// The command is asked in the box, where it finds the version and itself.
func TestTheUnitsThatTheCommandWritesServeAndUpgrade(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{"by the command": nil, "by notify-reload": {"--notify-reload"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := install(t)
			s.installCommand()
			make := append([]string{command, "unit"}, flags...)
			make = append(make, "--write=/run/sdbox/units", "--force", "-s", "http="+httpAddr, "-s", "unix="+unixPath, "-s", "udp=udp::"+udpAddr, "--", program)
			out, code := s.Exec(append(append(make, elsewhere...), quick)...)
			if flags != nil && version(t, s.Box) < 253 {
				if code != 1 || !strings.Contains(out, "wants systemd 253, and this is 252") {
					t.Errorf("exit code %d: %s", code, out)
				}
				return
			}
			var all []string
			for line := range strings.Lines(out) {
				all = append(all, strings.TrimPrefix(strings.TrimSpace(line), "/run/sdbox/units/"))
			}
			if code != 0 || len(all) != 4 || all[0] != unit {
				t.Fatalf("exit code %d: %s", code, out)
			}
			s.Do("daemon-reload")
			s.Do("start", unit) // and with it its sockets
			s.answersEverywhere(1)
			before := s.sockets()
			s.findings()
			for generation := 2; generation <= 3; generation++ {
				s.Do("reload", unit)
				// No waiting: the reload was the upgrade.
				if r, err := s.ask("tcp"); err != nil || r.generation != generation || s.MainPID(unit) != r.pid {
					t.Errorf("after the reload %+v serves (%v), the main process is %d", r, err, s.MainPID(unit))
				}
			}
			s.answersEverywhere(3)
			s.same(before)
			s.findings()
			s.Do(append([]string{"stop"}, all...)...)
			s.ended()
		})
	}
}

func TestAProgramGetsTheArgumentsThatTheCommandWasGiven(t *testing.T) {
	t.Parallel()
	args := []string{"plain", "", "a b", "%n", "100%", "$HOME", "${HOME}x", "$$", ";", "#", `\`, `a\nb`, `"`, "'", `it's "so"`, "é\u2003\u200b", "tab\tline\nend", "\x01\x7f", " ", "=", "-x=;y"}
	const path = "/usr/local/bin/show 100% é;args"
	files, err := units.Files(units.Options{Program: path, Args: args, Name: "args"})
	if err != nil {
		t.Fatal(err)
	}
	// The program ends before it is ready, so that the start fails.
	box := sdbox.Start(t, sdbox.Options{Units: map[string]string{files[0].Name: files[0].Text + "[Service]\nRestart=no\n"}})
	executable(t, box, path, []byte("#!/bin/sh\nprintf '%s\\0' \"$0\" \"$@\" >/run/args\n"))
	box.Systemctl("start", "args")
	got, err := os.ReadFile(box.Path("/run/args"))
	if err != nil {
		t.Fatalf("%v\n%s", err, files[0].Text)
	}
	if want := strings.Join(append([]string{path}, args...), "\x00") + "\x00"; string(got) != want {
		t.Errorf("the program got\n%q, want\n%q", got, want)
	}
}

func TestAnExecStartThatIsNotWhatRunsIsFound(t *testing.T) {
	t.Parallel()
	s := install(t, httpSocket(t), flags(quick))
	s.startSockets(httpSocket(t))
	s.reached(1)
	s.findings()
	for name, text := range setting("flags", "ExecStart=\nExecStart=/usr/local/bin/other "+quick) {
		s.WriteFile("/run/sdbox/units/"+name, []byte(text), 0o644)
	}
	s.Do("daemon-reload")
	out, code := s.Exec("cp", program, "/usr/local/bin/other")
	if code != 0 {
		t.Fatal(out)
	}
	s.findings("warning command-changed")
	out, code = s.Exec("/usr/local/bin/handoff", "upgrade", "--unit", unit)
	if code != 0 || !strings.Contains(out, "upgraded to ") || !strings.Contains(out, `warning: ExecStart= of `+unit+` has changed`) {
		t.Errorf("exit code %d: %s", code, out)
	}
	s.findings("warning command-changed")
	s.Do("restart", unit)
	s.reached(1)
	s.findings()
}
