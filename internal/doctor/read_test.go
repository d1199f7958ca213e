package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/handoff-dev/handoff/internal/systemctl"
)

// fakeManager answers systemctl show from properties by unit, and list-units from
// their names.
func fakeManager(units map[string]systemctl.Properties) systemctl.Run {
	return func(_ context.Context, args ...string) (string, error) {
		var out strings.Builder
		switch args[0] {
		case "show":
			for name, values := range units[args[len(args)-1]] {
				for _, v := range values {
					out.WriteString(name + "=" + v + "\n")
				}
			}
			if out.Len() == 0 {
				out.WriteString("LoadState=not-found\nLoadError=org.x \"Unit it not found.\"\n")
			}
		case "list-units":
			for name := range units {
				out.WriteString(name + " loaded active running A description\n")
			}
		default:
			return "", errors.New("what is " + args[0] + "?")
		}
		return out.String(), nil
	}
}

// root makes a folder with files.
func root(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, isLink := strings.CutPrefix(text, "-> "); isLink {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func status(name, parent, more string) string {
	return "Name:\t" + name + "\nState:\tS (sleeping)\nPPid:\t" + parent + "\nUid:\t0\t33\t0\t0\n" + more
}

func TestTheFactsComeFromSystemdItsFilesAndProc(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("no links without rights")
	}
	service := props("Id=app.service", "LoadState=loaded", "MainPID=100", "TriggeredBy=z.socket t.timer a.socket",
		"FragmentPath=/etc/app.service", "DropInPaths=/etc/1.conf /etc/gone.conf", "ExecStart="+shown("/bin/app", ""), "ExecReload="+shown("/bin/kill", ""))
	s := System{
		Systemctl: fakeManager(map[string]systemctl.Properties{
			"app.service": service, "a.socket": props("Id=a.socket", "Accept=no"), "z.socket": props("Id=z.socket"),
		}),
		Root: root(t, map[string]string{
			"etc/app.service":   "[Service]\nType=simple\n",
			"etc/1.conf":        "[Service]\nType=notify-reload\n",
			"bin/kill":          "",
			"proc/1/status":     status("systemd", "0", ""),
			"proc/100/status":   status("app", "1", "NSpid:\t100\t7\n"),
			"proc/100/environ":  "A=b\x00NOTIFY_SOCKET=/run/n\x00",
			"proc/100/root/x":   "",
			"proc/100/fd/3":     "-> socket:[11]",
			"proc/100/fd/4":     "-> socket:[12]",
			"proc/100/fd/5":     "-> socket:[13]",
			"proc/100/fd/6":     "-> /dev/null",
			"proc/100/net/tcp":  "sl local rem st tx tr retr uid timeout inode\n0: 0100:1F90 0:0 0A 0:0 0:0 0 0 0 11 1\n1: 0:1 0:2 01 0:0 0:0 0 0 0 12 1\n",
			"proc/100/net/unix": "Num RefCount Protocol Flags Type St Inode Path\n0: 2 0 00010000 0001 01 13 /run/x\n",
			"proc/101/status":   status("child", "100", ""),
			"proc/102/status":   strings.Replace(status("dead", "100", ""), "S (", "Z (", 1),
			"proc/103/status":   status("other", "1", ""),
			"proc/self/status":  "",
		}),
	}
	f, err := s.Read(context.Background(), "app.service")
	if err != nil {
		t.Fatal(err)
	}
	if f.Unit != "app.service" || len(f.Sockets) != 2 || f.Sockets[0].Get("Id") != "a.socket" || f.Sockets[1].Get("Id") != "z.socket" {
		t.Errorf("unit %s, sockets %q", f.Unit, f.Sockets)
	}
	if f.Written["Type"] != "notify-reload" || !reflect.DeepEqual(f.Absent, map[string]string{"ExecStart": "/bin/app"}) {
		t.Errorf("written %q, absent %q", f.Written, f.Absent)
	}
	want := &Process{
		PID: 100, InnerPID: 7, Parent: 1, ParentName: "systemd", Name: "app", UID: 33, Listening: 2, NoProc: true,
		Env:      map[string]string{"A": "b", "NOTIFY_SOCKET": "/run/n"},
		Children: []Process{{PID: 101, InnerPID: 101, Parent: 100, Name: "child", UID: 33, Listening: -1}},
	}
	if !reflect.DeepEqual(f.Process, want) {
		t.Errorf("process %+v, want %+v", f.Process, want)
	}
}

func TestADirectoryIsFoundThatIsALinkOrGone(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("no links without rights")
	}
	for _, test := range []struct {
		lines  []string
		cwd    string
		linked bool
		gone   string
	}{
		{nil, "-> /", false, ""},
		{[]string{"WorkingDirectory=/srv/app/r1"}, "-> /srv/app/r1", false, ""},
		{[]string{"WorkingDirectory=/srv/app/current"}, "-> /srv/app/r1 (deleted)", true, "/srv/app/r1"},
		{[]string{"WorkingDirectory=!/srv/app/current"}, "-> /odd (deleted)", true, ""},
		{[]string{"WorkingDirectory=/srv/app/current/data"}, "-> /", true, ""},
		{[]string{"WorkingDirectory=/app/current", "RootDirectory=/srv"}, "-> /", true, ""},
		{[]string{"WorkingDirectory=~"}, "-> /root", false, ""},
		{[]string{"WorkingDirectory=/srv/none"}, "-> /", false, ""},
	} {
		service := props(append(test.lines, "Id=app.service", "LoadState=loaded", "MainPID=100")...)
		s := System{Systemctl: fakeManager(map[string]systemctl.Properties{"app.service": service}), Root: root(t, map[string]string{
			"srv/app/r1/data/x": "", "srv/app/current": "-> r1", "proc/100/status": status("app", "1", ""),
			"proc/100/cwd": test.cwd, "proc/100/root/odd (deleted)/x": "",
		})}
		f, err := s.Read(context.Background(), "app.service")
		if err != nil || f.LinkedDirectory != test.linked || f.Process.GoneDir != test.gone {
			t.Errorf("%q, %q: linked %v, gone %q, %v", test.lines, test.cwd, f.LinkedDirectory, f.Process.GoneDir, err)
		}
	}
}

func TestASocketUnitIsFoundByTheServicesNameWhereSystemdNamesNone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		service, socket string
		want            int
	}{
		{"app@1.service", "Accept=yes", 1},
		{"app@1.service", "Accept=no", 0},
		{"app.service", "Triggers=x.service app.service", 1},
		{"app.service", "Triggers=other.service", 0},
		{"app.service", "Accept=yes", 0},
	} {
		s := System{Root: t.TempDir(), Systemctl: fakeManager(map[string]systemctl.Properties{
			test.service: props("Id="+test.service, "LoadState=loaded"),
			"app.socket": props("Id=app.socket", "LoadState=loaded", test.socket),
		})}
		if f, err := s.Read(context.Background(), test.service); err != nil || len(f.Sockets) != test.want || f.Process != nil {
			t.Errorf("%s, %s: %q, %v, want %d", test.service, test.socket, f.Sockets, err, test.want)
		}
	}
}

func TestAUnitThatCannotBeLoadedIsAnErrorWithTheReason(t *testing.T) {
	t.Parallel()
	s := System{Root: t.TempDir(), Systemctl: fakeManager(map[string]systemctl.Properties{
		"bad.service":    props("LoadState=bad-setting", `LoadError=org.x "Unit bad.service has a bad unit file setting."`),
		"masked.service": props("LoadState=masked", "LoadError="),
	})}
	for unit, want := range map[string]string{
		"no.service":     "systemd can't load the unit no.service: Unit it not found",
		"bad.service":    "systemd can't load the unit bad.service: Unit bad.service has a bad unit file setting",
		"masked.service": "systemd can't load the unit masked.service: its state is masked",
	} {
		if _, err := s.Read(context.Background(), unit); !errors.Is(err, ErrNoUnit) || err.Error() != want {
			t.Errorf("%s: %v, want %s", unit, err, want)
		}
	}
	failing := errors.New("no bus")
	s.Systemctl = func(context.Context, ...string) (string, error) { return "", failing }
	if _, err := s.Read(context.Background(), "x.service"); !errors.Is(err, failing) {
		t.Errorf("the error is %v, want %v in it", err, failing)
	}
	if _, err := s.Services(context.Background()); !errors.Is(err, failing) {
		t.Errorf("the error is %v, want %v in it", err, failing)
	}
}

func TestServicesBuiltWithHandoffAreFoundByTheirPrograms(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("no links without rights")
	}
	self, err := os.Executable() // of the module itself
	if err != nil {
		t.Fatal(err)
	}
	s := System{
		Root: root(t, map[string]string{"proc/100/exe": "-> " + self, "proc/101/exe": "#!/bin/sh\n"}),
		Systemctl: fakeManager(map[string]systemctl.Properties{
			"a.service": props("MainPID=100"), "b.service": props("MainPID=101"), "c.service": props("MainPID=0"), "d.service": props("MainPID=999"),
		}),
	}
	if got, err := s.Services(context.Background()); err != nil || !reflect.DeepEqual(got, []string{"a.service"}) {
		t.Errorf("%q, %v, want a.service", got, err)
	}
}
