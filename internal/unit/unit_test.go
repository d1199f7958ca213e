package unit

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/needed"
	"github.com/handoff-dev/handoff/internal/spec"
)

func specs(t testing.TB, texts ...string) (all []spec.Spec) {
	t.Helper()
	for _, text := range texts {
		s, err := spec.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

func files(t testing.TB, o Options) []File {
	t.Helper()
	all, err := Files(o)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// settings are the lines of a unit that are no comment.
func settings(f File) (lines []string) {
	for line := range strings.Lines(f.Text) {
		if line = strings.TrimSuffix(line, "\n"); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestTheServiceIsTheUnitThatWorks(t *testing.T) {
	t.Parallel()
	all := files(t, Options{Program: "/usr/bin/my app", Args: []string{"-v"}, Drain: 100 * time.Second, User: "www-data"})
	want := []string{
		"[Unit]", "Description=my-app",
		"[Service]", "Type=notify", "NotifyAccess=main", `ExecStart="/usr/bin/my app" -v`, "ExecReload=/bin/kill -HUP $MAINPID",
		"User=www-data", "KillMode=control-group", "TimeoutStopSec=115s", "Restart=on-failure", "FileDescriptorStoreMax=16",
		"[Install]", "WantedBy=multi-user.target",
	}
	if got := settings(all[0]); len(all) != 1 || all[0].Name != "my-app.service" || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%d files, %s:\n%s", len(all), all[0].Name, strings.Join(got, "\n"))
	}
}

func TestAReloadIsTheCommandWhereThatIsKnown(t *testing.T) {
	t.Parallel()
	o := Options{Program: "/bin/true", Command: "/usr/bin/handoff"}
	if got := settings(files(t, o)[0]); !slices.Contains(got, "ExecReload=/usr/bin/handoff upgrade --wait --pid $MAINPID") {
		t.Errorf("the unit is\n%s", strings.Join(got, "\n"))
	}
}

func TestNotifyReloadHasNoExecReloadAndWantsSystemd253(t *testing.T) {
	t.Parallel()
	o := Options{Program: "/bin/true", NotifyReload: true, Systemd: 253}
	got := strings.Join(settings(files(t, o)[0]), "\n") + "\n"
	for line, want := range map[string]bool{"Type=notify-reload\n": true, "ReloadSignal=SIGHUP\n": true, "TimeoutStartSec=90s\n": true, "ExecReload=": false, "Type=notify\n": false} {
		if strings.Contains(got, line) != want {
			t.Errorf("%q is there: %v, want %v, in\n%s", line, !want, want, got)
		}
	}
	o.Systemd = 252
	if _, err := Files(o); !errors.Is(err, ErrTooOld) {
		t.Errorf("systemd 252: the error is %v", err)
	}
}

func TestThereIsOneSocketUnitForEachName(t *testing.T) {
	t.Parallel()
	all := files(t, Options{Program: "/bin/app", Sockets: specs(t, "web=80", "https::443", "web=[::1]:81", "web=udp::80", "/run/100%.sock", "l g=@x", "q=seqpacket::/run/q", "d=unixgram::@d", "v=vsock::2:1234", "w=vsock::1235")})
	got := map[string]string{}
	var names []string
	for _, f := range all[1:] {
		names = append(names, f.Name)
		var lines []string
		for _, line := range settings(f) {
			if strings.HasPrefix(line, "Listen") || strings.HasPrefix(line, "FileD") || strings.HasPrefix(line, "Service") {
				lines = append(lines, line)
			}
		}
		got[f.Name] = strings.Join(lines, " ")
	}
	for name, want := range map[string]string{
		"app-web.socket":   "ListenStream=80 ListenStream=[::1]:81 ListenDatagram=80 FileDescriptorName=web Service=app.service",
		"app-https.socket": "ListenStream=443 FileDescriptorName=https Service=app.service",
		"app-unix.socket":  "ListenStream=/run/100%%.sock FileDescriptorName=unix Service=app.service",
		"app-l-g.socket":   "ListenStream=@x FileDescriptorName=l g Service=app.service",
		"app-q.socket":     "ListenSequentialPacket=/run/q FileDescriptorName=q Service=app.service",
		"app-d.socket":     "ListenDatagram=@d FileDescriptorName=d Service=app.service",
	} {
		if got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
	service := strings.Join(settings(all[0]), "\n")
	units := strings.Join(names, " ")
	if !strings.Contains(service, "Sockets="+units+"\n") || !strings.HasSuffix(service, "Also="+units) {
		t.Errorf("the service doesn't name %s:\n%s", units, service)
	}
}

func TestASocketOfOneNameIsInTheUnitThatSystemdPairs(t *testing.T) {
	t.Parallel()
	all := files(t, Options{Program: "/bin/app", Sockets: specs(t, "80", "[::1]:81")})
	if got := strings.Join(settings(all[1]), "\n"); len(all) != 2 || all[1].Name != "app.socket" || strings.Contains(got, "Service=") || !strings.Contains(got, "FileDescriptorName=tcp") {
		t.Errorf("%d files, %s:\n%s", len(all), all[1].Name, got)
	}
}

func TestArgumentsAreWrittenAsSystemdReadsThem(t *testing.T) {
	t.Parallel()
	for arg, want := range map[string]string{
		"-http=:8080":     "-http=:8080",
		"a@b,c+d":         "a@b,c+d",
		"":                `""`,
		"a b":             `"a b"`,
		";":               `";"`,
		"#x":              `"#x"`,
		"100%":            "100%%",
		"$HOME":           "$$HOME",
		"${A} b":          `"$${A} b"`,
		`say "hi"`:        `"say \"hi\""`,
		"it's":            `"it's"`,
		`C:\dir\`:         `"C:\\dir\\"`,
		"two\nlines\tand": `"two\nlines\tand"`,
		"\x01\x7f":        `"\x01\x7f"`,
		"größe":           "größe",
		"wide\u2003space": "\"wide\u2003space\"",
		"zero\u200bwidth": `"zero\U0000200bwidth"`,
		"csi \u009b2J":    `"csi \U0000009b2J"`,
	} {
		if got, err := argument(arg); err != nil || got != want {
			t.Errorf("%q is written %s (%v), want %s", arg, got, err, want)
		}
	}
}

func TestAWorkingDirectoryIsToldToTheProgram(t *testing.T) {
	t.Parallel()
	for dir, want := range map[string]string{
		"/srv/app/current/": "WorkingDirectory=/srv/app/current\nEnvironment=PWD=/srv/app/current",
		`/srv/my "100%" $x`: `WorkingDirectory=/srv/my "100%%" $x` + "\n" + `Environment="PWD=/srv/my \"100%%\" $x"`,
		"/srv/größe":        "WorkingDirectory=/srv/größe\nEnvironment=PWD=/srv/größe",
	} {
		all := files(t, Options{Program: "/bin/true", Directory: dir})
		if got := strings.Join(settings(all[0]), "\n"); !strings.Contains(got, "\n"+want+"\n") {
			t.Errorf("%s: got\n%s\nwant\n%s", dir, got, want)
		}
		analyze(t, all)
	}
}

func TestWhatSystemdWouldNotTakeIsAnErrorThatNamesIt(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		o    Options
		want string
	}{
		{Options{Program: "app"}, `"app" is not absolute`},
		{Options{Program: `/opt/a"b`}, `/opt/a\"b`},
		{Options{Program: "/opt/$x"}, "dollar"},
		{Options{Program: "/bin/a", Args: []string{"\xff"}}, `"\xff" is not UTF-8`},
		{Options{Program: "/bin/a", Directory: "srv/app"}, `working directory "srv/app" is not absolute`},
		{Options{Program: "/bin/a", Directory: "/srv/a\nb"}, `WorkingDirectory="/srv/a\nb"`},
		{Options{Program: "/bin/a", Name: "a/b"}, `"a/b" can't be the name`},
		{Options{Program: "/bin/a", Name: "a@b"}, `"a@b" can't be the name`},
		{Options{Program: "/bin/@"}, `"" can't be the name`},
		{Options{Program: "/bin/a", User: "a b"}, `"a b" is no user`},
		{Options{Program: "/bin/a", Description: "a\nb"}, `Description="a\nb"`},
		{Options{Program: "/bin/a", Drain: -1}, "drain"},
		{Options{Program: "/bin/a", Sockets: specs(t, "localhost:80")}, "such as 127.0.0.1:80"},
		{Options{Program: "/bin/a", Sockets: specs(t, "./a.sock")}, "absolute path"},
		{Options{Program: "/bin/a", Sockets: specs(t, "fd::3")}, "give it an address"},
		{Options{Program: "/bin/a", Sockets: specs(t, "/a?mode=0660&backlog=7")}, "write SocketMode=0660 and Backlog=7 into"},
		{Options{Program: "/bin/a", Sockets: specs(t, "0")}, "no port 0"},
		{Options{Program: "/bin/a", Sockets: specs(t, "a=80", "b=80")}, "tcp:::80 is there twice"},
		{Options{Program: "/bin/a", Sockets: specs(t, "a b=80", "a-b=81")}, `"a b" and "a-b" would both be of the unit a-a-b.socket`},
		{Options{Program: "/bin/a", Sockets: specs(t, `/run/x\`)}, "no backslash"},
		{Options{Program: "/bin/a", Sockets: specs(t, "/run/\xff")}, "UTF-8"},
	} {
		if _, err := Files(test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %s in it", test.o, err, test.want)
		}
	}
}

// analyze lets systemd judge unit files.
func analyze(t *testing.T, all []File) {
	t.Helper()
	tool := needed.Tool(t, "systemd-analyze")
	dir := t.TempDir()
	args := []string{"verify", "--man=no"}
	for _, f := range all {
		path := filepath.Join(dir, f.Name)
		if err := os.WriteFile(path, []byte(f.Text), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
		for _, f := range all {
			t.Logf("%s:\n%s", f.Name, f.Text)
		}
	}
}

func TestSystemdFindsNothingWrongInTheFiles(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "my 100% é;program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]Options{
		"bare":        {Program: "/bin/true"},
		"one socket":  {Program: "/bin/true", Sockets: specs(t, "http=8080", "http=[fe80::1%lo]:80")},
		"all sockets": {Program: "/bin/true", User: "daemon", Sockets: specs(t, "http=8080", "https=https::127.0.0.1:443", "dns=udp::53", "/run/a b%.sock", "odd name %=@x", "q=seqpacket::/run/q", "d=unixgram::@d", "v=vsock::2:1234", "w=vsock::1235")},
		"odd words":   {Program: program, Name: "odd", Description: "50% of \"all\" ${X} ; #", Args: []string{"a b", "%n", "$X", ";", "", `\`, "'", `"`, "é\n", "#"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			analyze(t, files(t, o))
		})
	}
}
