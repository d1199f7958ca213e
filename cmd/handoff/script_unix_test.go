//go:build unix

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A script is one call of the command in a process of its own.
type script struct {
	dir  string // current, and the place of a systemctl that tells what the tests want
	args []string
}

// systemctl is a program that answers as systemd 252 would of a few units.
const fakeSystemctl = `#!/bin/sh
for last; do :; done
case $1 in
--version) echo "systemd ${FAKE_VERSION:-252} (252.1)" ;;
list-units) ;;
show)
	case $last in
	fine.service)
		echo Id=fine.service; echo LoadState=loaded; echo Type=notify; echo NotifyAccess=main; echo MainPID=0
		echo TimeoutStopUSec=45s; echo Restart=always; echo FileDescriptorStoreMax=16
		echo 'ExecReload={ path=/bin/sh ; argv[]=/bin/sh ; ignore_errors=no }' ;;
	noted.service)
		echo Id=noted.service; echo LoadState=loaded; echo Type=notify; echo WatchdogUSec=5s
		echo 'ExecReload={ path=/bin/sh ; argv[]=/bin/sh ; ignore_errors=no }' ;;
	sick.service)
		echo Id=sick.service; echo LoadState=loaded; echo Type=notify; echo PIDFile=/run/a.pid; echo KillMode=mixed
		echo 'ExecReload={ path=/bin/sh ; argv[]=/bin/sh ; ignore_errors=no }' ;;
	broken.service) echo "Failed to connect to bus" >&2; exit 1 ;;
	*) echo LoadState=not-found; echo "LoadError=org.x \"Unit $last not found.\"" ;;
	esac ;;
--user) echo "no bus of user" >&2; exit 1 ;;
esac
`

func (s script) run(t *testing.T, env ...string) (stdout, stderr string, code int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, s.args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), asCommand+"=1", "GORACE=atexit_sleep_ms=0", "PATH="+s.dir+":/usr/bin:/bin")
	cmd.Env = append(cmd.Env, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func newScript(t *testing.T, args ...string) script {
	t.Helper()
	s := script{dir: t.TempDir(), args: args}
	for name, text := range map[string]string{"systemctl": fakeSystemctl, "app": "#!/bin/sh\n"} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

const sickText = `sick.service: warning: With PIDFile=/run/a.pid systemd reads the main process from it after each reload, whatever the hand-over has said, and removes the file at a stop. [pid-file]
    Delete PIDFile=; a file for others the program can write itself, at another path.
sick.service: error: With KillMode=mixed a stop kills the generations that drain, with their requests, as soon as the newest has ended. [kill-mode-mixed]
    Set KillMode=control-group.
`

const notedText = `noted.service: note: With WatchdogSec=5s systemd kills a main process that sends no WATCHDOG=1 for so long, and after an upgrade that is the new one. [watchdog]
    See to it that the program sends them, in each generation from the hand-over on.
`

func TestDoctorSaysWhatItFindsAndExitsByIt(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"fine", exitOK, "fine.service: nothing found\n", ""},
		{"noted.service", exitOK, notedText, ""},
		{"sick", exitFailed, sickText, ""},
		{"fine sick sick.service", exitFailed, "fine.service: nothing found\n" + sickText, ""},
		{"fine --drain=50s", exitFailed, `fine.service: warning: With TimeoutStopSec=45s a stop kills connections that may take 50s to end. [stop-timeout]
    Set TimeoutStopSec=65s, or have the program drain for a shorter time.
`, ""},
		{"--json fine", exitOK, `[
  {
    "unit": "fine.service",
    "systemd": 252,
    "mainPid": 0,
    "findings": []
  }
]
`, ""},
		{"--json noted", exitOK, `[
  {
    "unit": "noted.service",
    "systemd": 252,
    "mainPid": 0,
    "findings": [
      {
        "id": "watchdog",
        "severity": "note",
        "what": "With WatchdogSec=5s systemd kills a main process that sends no WATCHDOG=1 for so long, and after an upgrade that is the new one.",
        "mend": "See to it that the program sends them, in each generation from the hand-over on."
      }
    ]
  }
]
`, ""},
		{"fine none", exitNoUnit, "", `error: systemd can't load the unit none.service: Unit none.service not found
hint: systemctl list-units --all --type=service shows what there is; units of a user want --user
`},
		{"broken", exitNoUnit, "", "error: systemctl show broken.service: exit status 1: Failed to connect to bus\n"},
		{"--user fine", exitNoUnit, "", "error: systemctl --version: exit status 1: no bus of user\n"},
		{"", exitNoUnit, "", `error: no service that runs is built with handoff
hint: name a unit; as root doctor sees the programs of all services
`},
		{"a.socket", exitUsage, "", `error: a.socket is no service: name the service, and its sockets are examined with it
hint: see 'handoff doctor --help'
`},
		{"a@", exitUsage, "", `error: a@.service is a template: name an instance of it, such as a@1.service
hint: see 'handoff doctor --help'
`},
		{"./a", exitUsage, "", "error: \"./a\" is no unit's name\nhint: see 'handoff doctor --help'\n"},
		{"--drain=0 a", exitUsage, "", "error: --drain is 0s: want more than 0\nhint: see 'handoff doctor --help'\n"},
	} {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			stdout, stderr, code := newScript(t, append([]string{"doctor"}, strings.Fields(test.args)...)...).run(t)
			if stdout != test.stdout || stderr != test.stderr || code != test.code {
				t.Errorf("exit code %d, want %d\noutput:\n%s\nwant:\n%s\nerror output:\n%s\nwant:\n%s", code, test.code, stdout, test.stdout, stderr, test.stderr)
			}
		})
	}
}

func TestWithoutSystemctlDoctorSaysWhereToRunIt(t *testing.T) {
	t.Parallel()
	s := newScript(t, "doctor", "app")
	_, stderr, code := s.run(t, "PATH="+t.TempDir())
	if want := "error: systemctl --version: there is no systemctl in PATH\nhint: doctor examines services of systemd; run it on the machine that runs the service\n"; stderr != want || code != exitNoUnit {
		t.Errorf("exit code %d, %q, want %d, %q", code, stderr, exitNoUnit, want)
	}
}

func TestUnitPrintsFilesThatSaySoThemselves(t *testing.T) {
	t.Parallel()
	s := newScript(t, "unit", "-s", "http=8080", "--socket=udp::53", "--name=web", "--user=www-data", "--", "app", "--flag", "a b")
	stdout, stderr, code := s.run(t)
	var settings []string
	for line := range strings.Lines(stdout) {
		if strings.HasPrefix(line, "# web") || line != "\n" && line[0] != '#' {
			settings = append(settings, strings.TrimSuffix(line, "\n"))
		}
	}
	dir, err := filepath.EvalSymlinks(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	want := `# web.service
[Unit]
Description=web
[Service]
Type=notify
NotifyAccess=main
ExecStart=` + dir + `/app --flag "a b"
ExecReload=/bin/kill -HUP $MAINPID
User=www-data
KillMode=control-group
TimeoutStopSec=45s
Restart=on-failure
FileDescriptorStoreMax=16
Sockets=web-http.socket web-udp.socket
[Install]
WantedBy=multi-user.target
Also=web-http.socket web-udp.socket
# web-http.socket
[Unit]
Description=web (http)
[Socket]
ListenStream=8080
FileDescriptorName=http
Service=web.service
[Install]
WantedBy=sockets.target
# web-udp.socket
[Unit]
Description=web (udp)
[Socket]
ListenDatagram=53
FileDescriptorName=udp
Service=web.service
[Install]
WantedBy=sockets.target`
	got := strings.ReplaceAll(strings.Join(settings, "\n"), s.dir, dir)
	if got != want || stderr != "" || code != exitOK {
		t.Errorf("exit code %d, %q, settings:\n%s\nwant:\n%s", code, stderr, got, want)
	}
	if !strings.Contains(stdout, "(systemd 252)") || strings.Count(stdout, "\n# ") < 15 {
		t.Errorf("no version, or few comments, in\n%s", stdout)
	}
}

func TestUnitWritesNothingOverAFileUnlessForced(t *testing.T) {
	t.Parallel()
	s := newScript(t, "unit", "--write=out", "--socket=80", "/usr/bin/app")
	out := filepath.Join(s.dir, "out")
	_, stderr, code := s.run(t)
	if want := "error: write out/app.service: no such file or directory\n"; stderr != want || code != exitFailed {
		t.Errorf("no folder: exit code %d, %q, want %q", code, stderr, want)
	}
	if err := os.Mkdir(out, 0o755); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, code := s.run(t); stdout != "out/app.service\nout/app.socket\n" || stderr != "" || code != exitOK {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
	precious := filepath.Join(out, "app.socket")
	if err := os.Remove(filepath.Join(out, "app.service")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(precious, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := s.run(t)
	if want := "error: out/app.socket is there already; nothing was written\nhint: --force replaces it\n"; stdout != "" || stderr != want || code != exitFailed {
		t.Errorf("exit code %d, %q, %q, want %q", code, stdout, stderr, want)
	}
	if text, _ := os.ReadFile(precious); string(text) != "mine" {
		t.Errorf("the file was replaced by %q", text)
	}
	if left, _ := os.ReadDir(out); len(left) != 1 {
		t.Errorf("%v are there, want app.socket alone", left)
	}
	s.args = append([]string{"unit", "--force"}, s.args[1:]...)
	if _, stderr, code := s.run(t); code != exitOK {
		t.Errorf("with force: exit code %d, %q", code, stderr)
	}
	for _, name := range []string{"app.service", "app.socket"} {
		info, err := os.Stat(filepath.Join(out, name))
		if err != nil || info.Mode() != 0o644 || info.Size() < 100 {
			t.Errorf("%s: %v, %v, want mode 0644 and a text", name, info, err)
		}
	}
	if left, _ := os.ReadDir(out); len(left) != 2 {
		t.Errorf("%v are there, want the two units", left)
	}
}

func TestUnitSaysWhatIsWrongWithItsCall(t *testing.T) {
	t.Parallel()
	const usage = "hint: see 'handoff unit --help'\n"
	for args, want := range map[string]struct {
		code   int
		stderr string
	}{
		"":                     {exitUsage, "error: the program is missing\n" + usage},
		"--socket=x=80x app":   {exitUsage, "error: socket: the port is no number from 0 to 65535\n  x=80x\n    ^\n  right is, for example, 127.0.0.1:8080\n" + usage},
		"-s localhost:80 app":  {exitUsage, "error: socket tcp::localhost:80: systemd knows no hosts' names: give it an address, such as 127.0.0.1:80\n" + usage},
		"--force app":          {exitUsage, "error: --force is for --write\n" + usage},
		"--drain=-1s app":      {exitUsage, "error: --drain is -1s: want more than 0\n" + usage},
		"--systemd=-1 app":     {exitUsage, "error: --systemd is -1: want a version, such as 252\n" + usage},
		"--name=a/b app":       {exitUsage, "error: \"a/b\" can't be the name of a unit: want up to 200 letters, digits and :_.-\n" + usage},
		"--notify-reload app":  {exitFailed, "error: a unit of Type=notify-reload wants systemd 253, and this is 252\nhint: without --notify-reload the units work from systemd 252 on; --systemd says which version they are for\n"},
		"no-such-program-here": {exitFailed, "error: find the program: exec: \"no-such-program-here\": executable file not found in $PATH\nhint: give its absolute path; then it need not be there yet\n"},
	} {
		stdout, stderr, code := newScript(t, append([]string{"unit"}, strings.Fields(args)...)...).run(t)
		if stdout != "" || stderr != want.stderr || code != want.code {
			t.Errorf("handoff unit %s: exit code %d, want %d, output %q, error output\n%s\nwant\n%s", args, code, want.code, stdout, stderr, want.stderr)
		}
	}
	stdout, stderr, code := newScript(t, "unit", "--notify-reload", "--systemd=253", "app").run(t)
	if !strings.Contains(stdout, "\nType=notify-reload\n") || strings.Contains(stdout, "\nExecReload=") || stderr != "" || code != exitOK {
		t.Errorf("for 253: exit code %d, %q, %q", code, stdout, stderr)
	}
}
