package systemd

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/handoff-dev/handoff/internal/spec"
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

func TestTheUnitsThatTheCommandWritesServeAndUpgrade(t *testing.T) {
	t.Parallel()
	options := units.Options{
		Program: program, Args: append(slices.Clone(elsewhere), quick),
		Sockets: []spec.Spec{parse(t, "http="+httpAddr), parse(t, "unix="+unixPath), parse(t, "udp=udp::"+udpAddr)},
	}
	files, err := units.Files(options)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range files {
		all[f.Name] = f.Text
	}
	s := install(t, all)
	s.Do("start", unit) // and with it its sockets
	s.answersEverywhere(1)
	before := s.sockets()
	s.findings()
	s.upgrade(2)
	s.answersEverywhere(2)
	s.same(before)
	s.findings()
	s.Do(append([]string{"stop"}, slices.Sorted(maps.Keys(all))...)...)
	s.ended()
}

func parse(t *testing.T, text string) spec.Spec {
	t.Helper()
	s, err := spec.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
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
