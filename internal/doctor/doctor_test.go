package doctor

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/systemctl"
)

// healthy is a service in which nothing is to be found, as systemctl show tells it.
func healthy() Facts {
	return Facts{
		Unit: "app.service", Systemd: 257, Drain: 30 * time.Second,
		Service: props("Id=app.service", "LoadState=loaded", "ActiveState=active", "NeedDaemonReload=no",
			"Type=notify", "NotifyAccess=main", "PIDFile=", "PrivatePIDs=no", "ExitType=main", "RemainAfterExit=no",
			"KillMode=control-group", "KillSignal=15", "SendSIGHUP=no", "TimeoutStopUSec=45s", "TimeoutStartUSec=1min 30s",
			"ExecStart="+shown("/bin/app", "-v"), "ExecReload="+shown("/bin/kill", "-HUP $MAINPID"), "ReloadSignal=1",
			"Restart=on-failure", "RestartMode=normal", "WatchdogUSec=0", "FileDescriptorStoreMax=16", "FileDescriptorStorePreserve=restart",
			"MemoryMax=infinity", "OOMPolicy=stop", "User=", "RootDirectory=", "RootImage=", "MountAPIVFS=no", "InaccessiblePaths=", "TemporaryFileSystem=",
			"RestrictAddressFamilies=~", "SystemCallFilter=~", "SystemCallErrorNumber=2147483646"),
		Process: &Process{PID: 100, InnerPID: 100, Parent: 1, ParentName: "systemd", Name: "app", Listening: 2, Env: map[string]string{"NOTIFY_SOCKET": "/run/systemd/notify"}},
	}
}

func shown(path, args string) string {
	return "{ path=" + path + " ; argv[]=" + path + " " + args + " ; ignore_errors=no ; start_time=[n/a] ; pid=0 }"
}

func props(lines ...string) systemctl.Properties {
	p := systemctl.Properties{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, "=")
		p[name] = append(p[name], value)
	}
	return p
}

func socketUnit(id, name, state string, listen ...string) systemctl.Properties {
	p := props("Id="+id, "FileDescriptorName="+name, "ActiveState="+state, "Accept=no")
	p["Listen"] = listen
	return p
}

// set replaces properties of the service.
func set(lines ...string) func(*Facts) {
	return func(f *Facts) {
		for name, values := range props(lines...) {
			f.Service[name] = values
		}
	}
}

func process(change func(*Process)) func(*Facts) { return func(f *Facts) { change(f.Process) } }

func stopped(change func(*Facts)) func(*Facts) {
	return func(f *Facts) { f.Process = nil; change(f) }
}

func env(pairs ...string) func(*Facts) {
	return process(func(p *Process) {
		for _, pair := range pairs {
			name, value, _ := strings.Cut(pair, "=")
			p.Env[name] = value
		}
	})
}

func sockets(all ...systemctl.Properties) func(*Facts) {
	return func(f *Facts) { f.Sockets = all }
}

func linked(change func(*Facts)) func(*Facts) {
	return func(f *Facts) { f.LinkedDirectory = true; change(f) }
}

var allCalls = "accept " + strings.Join(systemCalls, " ")

var cases = []struct {
	name   string
	change func(*Facts)
	want   string // ids with severities
}{
	{"healthy", set(), ""},
	{"simple by itself", set("Type=simple", "NotifyAccess=none"), "warning type-simple, error notify-access-none"},
	{"exec", set("Type=exec"), "warning type-exec"},
	{"idle", set("Type=idle"), "warning type-idle"},
	{"forking", set("Type=forking"), "error type-forking"},
	{"oneshot", set("Type=oneshot"), "error type-oneshot"},
	{"dbus", set("Type=dbus"), "error type-dbus"},
	{"notify access exec", set("NotifyAccess=exec"), ""},
	{"notify access all", set("NotifyAccess=all"), "warning notify-access-all"},
	{"PID file", set("PIDFile=/run/x.pid"), "warning pid-file"},
	{"private PIDs", set("PrivatePIDs=yes"), "error private-pids"},
	{"private PIDs show a strange parent", func(f *Facts) { set("PrivatePIDs=yes")(f); f.Process.Parent = 99 }, "error private-pids"},
	{"exit type", set("ExitType=cgroup"), "warning exit-type-cgroup"},
	{"remains", set("RemainAfterExit=yes"), "warning remain-after-exit"},
	{"kill mode process", set("KillMode=process"), "error kill-mode-process"},
	{"kill mode mixed", set("KillMode=mixed"), "error kill-mode-mixed"},
	{"kill mode none", set("KillMode=none"), "error kill-mode-none"},
	{"kill signal", set("KillSignal=3"), "warning kill-signal"},
	{"kill signal SIGINT", set("KillSignal=2"), ""},
	{"SIGHUP too", set("SendSIGHUP=yes"), "error send-sighup"},
	{"no ExecReload", set("ExecReload="), "warning exec-reload-missing"},
	{"ExecReload unknown", func(f *Facts) { delete(f.Service, "ExecReload") }, "warning exec-reload-missing"},
	{"notify-reload", set("Type=notify-reload", "ExecReload="), ""},
	{"notify-reload with ExecReload", set("Type=notify-reload"), "error exec-reload-twice"},
	{"notify-reload with another signal", set("Type=notify-reload", "ExecReload=", "ReloadSignal=10"), "warning reload-signal"},
	{"notify-reload in a hurry", set("Type=notify-reload", "ExecReload=", "TimeoutStartUSec=20s"), "warning reload-timeout"},
	{"notify-reload under 252", func(f *Facts) {
		f.Systemd, f.Written = 252, map[string]string{"Type": "notify-reload"}
		set("Type=simple", "NotifyAccess=none", "ExecReload=")(f)
	}, "error notify-reload-unknown, error notify-access-none, warning exec-reload-missing"},
	{"a reload that does not wait", set("TimeoutStartUSec=20s"), ""},
	{"a reload that waits", set("TimeoutStartUSec=20s", "ExecReload="+shown("/bin/handoff", "upgrade --wait")), "warning reload-timeout"},
	{"a reload that can't see", set("PrivateUsers=yes", "ExecReload="+shown("/bin/handoff", "upgrade --pid $MAINPID")), "error exec-reload-blind"},
	{"a reload that sees", set("PrivateUsers=no", "ExecReload="+shown("/bin/handoff", "upgrade --pid $MAINPID")), ""},
	{"a reload by socket", set("PrivateUsers=yes", "ExecReload="+shown("/bin/handoff", "upgrade --socket=/run/app/s")), ""},
	{"a blind signal", set("PrivateUsers=yes"), ""},
	{"a privileged reload", set("PrivateUsers=yes", "ExecReload="+shown("/bin/handoff", "upgrade --pid $MAINPID"),
		"ExecReloadEx={ path=/bin/handoff ; argv[]=/bin/handoff upgrade ; flags=privileged ; start_time=[n/a] ; pid=0 }"), ""},
	{"pkill", set("ExecReload=" + shown("/usr/bin/pkill", "-HUP app")), "warning exec-reload-all"},
	{"no restart", set("Restart=no"), "warning restart-no"},
	{"restart on success", set("Restart=on-success"), "warning restart-on-success"},
	{"restart on abort", set("Restart=on-abort"), "warning restart-on-abort"},
	{"restart always", set("Restart=always"), ""},
	{"restart mode", set("RestartMode=direct"), "note restart-mode"},
	{"before restart modes", func(f *Facts) { delete(f.Service, "RestartMode") }, ""},
	{"no store", set("FileDescriptorStoreMax=0"), "warning fd-store-none"},
	{"no store and socket units", func(f *Facts) {
		set("FileDescriptorStoreMax=0")(f)
		sockets(socketUnit("app.socket", "http", "active", "[::]:80 (Stream)"))(f)
	}, "note fd-store-none"},
	{"store dropped", set("FileDescriptorStorePreserve=no"), "warning fd-store-dropped"},
	{"stop as long as the drain", set("TimeoutStopUSec=30s"), "warning stop-timeout"},
	{"stop longer", set("TimeoutStopUSec=30s 1ms"), ""},
	{"stop for ever", set("TimeoutStopUSec=infinity"), ""},
	{"stop of a short drain", func(f *Facts) { f.Drain = time.Second; set("TimeoutStopUSec=5s")(f) }, ""},
	{"watchdog", set("WatchdogUSec=5s"), "note watchdog"},
	{"watchdog of a stopped service", stopped(func(f *Facts) { set("WatchdogUSec=infinity")(f); f.Written = map[string]string{"WatchdogSec": "5"} }), "note watchdog"},
	{"memory", set("MemoryMax=1073741824"), "note memory-limit"},
	{"memory, and others go on", set("MemoryMax=1073741824", "OOMPolicy=continue"), ""},
	{"files changed", set("NeedDaemonReload=yes"), "warning daemon-reload"},
	{"old systemd", func(f *Facts) { f.Systemd = 249 }, "note systemd-old"},
	{"unknown systemd", func(f *Facts) { f.Systemd = 0 }, ""},

	{"a working directory", set("WorkingDirectory=/srv/app"), ""},
	{"by a link", linked(set("WorkingDirectory=/srv/app/current")), "warning working-directory-link"},
	{"by a link, stopped", linked(stopped(set("WorkingDirectory=!/srv/app/current"))), "warning working-directory-link"},
	{"by a link that the unit tells", linked(stopped(set("WorkingDirectory=/srv/app/current", "Environment=A=b PWD=/srv/app/current"))), ""},
	{"by a link with a space", linked(stopped(set("WorkingDirectory=/srv/my app", `Environment="PWD=/srv/my app" A=b`))), ""},
	{"another link is told", linked(stopped(set("WorkingDirectory=/srv/app/current", "Environment=PWD=/srv/app/current2 OLDPWD=/srv/app/current"))), "warning working-directory-link"},
	{"by a link that the process knows", linked(func(f *Facts) { set("WorkingDirectory=/srv/app/current/")(f); env("PWD=/srv/app/current")(f) }), ""},
	{"by a link that it does not know yet", linked(set("WorkingDirectory=/srv/app/current", "Environment=PWD=/srv/app/current")), "warning working-directory-link"},
	{"by a link, and somebody else's process", linked(func(f *Facts) { set("WorkingDirectory=/srv/app/current")(f); f.Process.Env = nil }), "warning working-directory-link, note process-unreadable"},
	{"a directory that was removed", process(func(p *Process) { p.GoneDir = "/srv/app/r1" }), "warning working-directory-gone"},
	{"root directory", set("RootDirectory=/srv/app", "MountAPIVFS=yes"), ""},
	{"root directory without /proc", stopped(set("RootDirectory=/srv/app")), "error proc-hidden"},
	{"root image without /proc", stopped(set("RootImage=/srv/app.raw")), "error proc-hidden"},
	{"root directory that brings /proc", set("RootDirectory=/srv/app"), ""},
	{"inaccessible /proc", set("InaccessiblePaths=/x -/proc"), "error proc-hidden"},
	{"inaccessible elsewhere", set("InaccessiblePaths=/proc/kcore"), ""},
	{"empty /proc", set("TemporaryFileSystem=/proc:ro"), "error proc-hidden"},
	{"a process without /proc", process(func(p *Process) { p.NoProc = true }), "error proc-hidden"},
	{"no program", func(f *Facts) { f.Absent = map[string]string{"ExecReload": "/bin/kill", "ExecStart": "/bin/app"} }, "error program-missing, error program-missing"},
	{"families without AF_UNIX", set("RestrictAddressFamilies=AF_INET AF_INET6"), "error address-families"},
	{"families with AF_UNIX", set("RestrictAddressFamilies=AF_INET AF_UNIX"), ""},
	{"families but AF_UNIX", set("RestrictAddressFamilies=~AF_UNIX"), "error address-families"},
	{"families but others", set("RestrictAddressFamilies=~AF_PACKET"), ""},
	{"no families", set("RestrictAddressFamilies="), "error address-families"},
	{"families not known", func(f *Facts) { delete(f.Service, "RestrictAddressFamilies"); delete(f.Service, "SystemCallFilter") }, ""},
	{"calls that fail", set("SystemCallErrorNumber=1", "SystemCallFilter="+allCalls), ""},
	{"calls that kill", set("SystemCallFilter=" + allCalls), "error system-calls"},
	{"calls enough", set("SystemCallFilter=" + allCalls + " " + strings.Join(fatalSystemCalls, " ")), ""},
	{"a call that fails", set("SystemCallErrorNumber=1", "SystemCallFilter=~waitid socketpair:13"), "error system-calls"},
	{"calls nobody needs", set("SystemCallFilter=~reboot swapon"), ""},

	{"sockets", sockets(socketUnit("a.socket", "http", "active", "[::]:80 (Stream)"), socketUnit("b.socket", "https", "active", "[::]:443 (Stream)")), ""},
	{"one socket without a name", sockets(socketUnit("app.socket", "app.socket", "active", "[::]:80 (Stream)")), ""},
	{"several without a name", sockets(socketUnit("a.socket", "a.socket", "active", "[::]:80 (Stream)"), socketUnit("b.socket", "b", "active", "/run/b (Stream)")), "warning socket-name-default"},
	{"two of a name in one unit", sockets(socketUnit("a.socket", "a", "active", "[::]:80 (Stream)", "/run/a b (Stream)")), "warning socket-names-shared"},
	{"two of a name in two units", sockets(socketUnit("a.socket", "x", "active", "[::]:80 (Stream)"), socketUnit("b.socket", "x", "active", "/run/b (Stream)")), "warning socket-names-shared"},
	{"one name for two types", sockets(socketUnit("a.socket", "dns", "active", "[::]:53 (Stream)", "[::]:53 (Datagram)")), ""},
	{"a socket that accepts", sockets(props("Id=app.socket", "Accept=yes", "ActiveState=inactive", "FileDescriptorName=")), "error socket-accept"},
	{"a socket that is off", sockets(socketUnit("app.socket", "http", "inactive", "[::]:80 (Stream)")), "warning socket-inactive"},
	{"a service that is off too", stopped(func(f *Facts) {
		set("ActiveState=inactive")(f)
		sockets(socketUnit("app.socket", "http", "inactive", "[::]:80 (Stream)"))(f)
	}), ""},

	{"a shell around", process(func(p *Process) { p.Name, p.Listening, p.Children = "sh", -1, []Process{{Name: "app", Listening: -1}} }), "error wrapper"},
	{"something else around", process(func(p *Process) { p.Name, p.Listening, p.Children = "wrap", 0, []Process{{Name: "app", Listening: 1}} }), "error wrapper"},
	{"a helper that listens not", process(func(p *Process) { p.Children = []Process{{Name: "sh", Listening: 0}} }), ""},
	{"an upgrade under way", process(func(p *Process) { p.Children = []Process{{Name: "app", Listening: 2}} }), ""},
	{"another command by now", func(f *Facts) { f.Changed = "it runs a, and ExecStart= names b by now" }, "warning command-changed"},
	{"a shell to be", stopped(set("ExecStart=" + shown("/bin/sh", "-c app; true"))), "warning wrapper-command"},
	{"a shell that goes", stopped(set("ExecStart=" + shown("/bin/sh", "-c exec app"))), ""},
	{"a shell that went", set("ExecStart=" + shown("/bin/sh", "-c app")), ""},
	{"alien main", process(func(p *Process) { p.Parent, p.ParentName = 50, "app" }), "error alien-main"},
	{"a user's systemd", process(func(p *Process) { p.Parent, p.ParentName = 50, "systemd" }), ""},
	{"no NOTIFY_SOCKET", env("NOTIFY_SOCKET="), "error notify-socket-absent"},
	{"somebody else's process", process(func(p *Process) { p.Env = nil }), "note process-unreadable"},
	{"another's WATCHDOG_PID", env("WATCHDOG_PID=99", "WATCHDOG_USEC=1"), "error watchdog-pid"},
	{"its own WATCHDOG_PID", env("WATCHDOG_PID=100", "WATCHDOG_USEC=1", "LISTEN_PID=100", "LISTEN_FDS=1"), ""},
	{"another's LISTEN_PID", env("LISTEN_PID=99", "LISTEN_FDS=1"), "error listen-pid"},
	{"another's LISTEN_PIDFDID", func(f *Facts) {
		f.Process.PIDFDID = "12"
		env("LISTEN_PID=100", "LISTEN_PIDFDID=11", "LISTEN_FDS=1")(f)
	}, "error listen-pidfdid"},
	{"its own LISTEN_PIDFDID", func(f *Facts) {
		f.Process.PIDFDID = "12"
		env("LISTEN_PID=100", "LISTEN_PIDFDID=12", "LISTEN_FDS=1")(f)
	}, ""},
	{"a LISTEN_PIDFDID and nothing to compare with", env("LISTEN_PID=100", "LISTEN_PIDFDID=11", "LISTEN_FDS=1"), ""},
	{"its own inner LISTEN_PID", func(f *Facts) { f.Process.InnerPID = 7; env("LISTEN_PID=7", "LISTEN_FDS=1")(f) }, ""},
	{"root given up", process(func(p *Process) { p.UID = 33 }), "note privileges-dropped"},
	{"never root", func(f *Facts) { f.Process.UID = 33; set("User=www-data")(f) }, ""},
	{"a user's service", func(f *Facts) { f.Process.UID = 1000; f.UserManager = true }, ""},
}

func idsOf(findings []Finding) string {
	var ids []string
	for _, f := range findings {
		ids = append(ids, string(f.Severity)+" "+f.ID)
	}
	return strings.Join(ids, ", ")
}

func TestEachTrapHasItsFindingAndNothingElseHasOne(t *testing.T) {
	t.Parallel()
	for _, test := range cases {
		f := healthy()
		test.change(&f)
		if got := idsOf(Examine(f)); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestEachFindingIsTwoSentences(t *testing.T) {
	t.Parallel()
	for _, test := range cases {
		f := healthy()
		test.change(&f)
		for _, found := range Examine(f) {
			for _, s := range []string{found.What, found.Mend} {
				if !strings.HasSuffix(s, ".") || strings.Contains(s, "\n") || strings.Contains(s, "%!") || strings.Contains(s, ". ") {
					t.Errorf("%s: %s: %q is not a sentence", test.name, found.ID, s)
				}
			}
		}
	}
}

func TestEachFindingOfTheCodeIsInATest(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	for _, test := range cases {
		all.WriteString(test.want + ",")
	}
	names, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, n := range names {
		if strings.HasSuffix(n.Name(), "_test.go") {
			continue
		}
		text, err := os.ReadFile(n.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`r\.add\(\w+, "([a-z-]+)`).FindAllStringSubmatch(string(text), -1) {
			count++
			if !strings.Contains(all.String(), " "+m[1]) {
				t.Errorf("no test has the finding %s", m[1])
			}
		}
	}
	if count < 35 {
		t.Errorf("only %d findings were seen in the code", count)
	}
}

func TestAListOfWhatIsAllowedForbidsTheRest(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]bool{"~": false, "": true, "a b": true, "a x b": false, "~a x": true, "~x:EPERM": true, "~xx": false} {
		if got := denied(list, "x"); got != want {
			t.Errorf("%q forbids x: %v, want %v", list, got, want)
		}
	}
}

func TestTimesAreReadAsSystemctlPrintsThem(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"0": 0, "45s": 45 * time.Second, "1min 30s": 90 * time.Second, "5d 3h 2min 500ms": 123*time.Hour + 2*time.Minute + 500*time.Millisecond,
		"2.5s": 2500 * time.Millisecond, "100us": 100 * time.Microsecond, "infinity": forever, "1000000y": forever, "5": 5 * time.Second,
		"": -1, "5 parsecs": -1, "s": -1, "[not set]": -1,
	} {
		if got, ok := parseSpan(text); ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, ok, want)
		}
	}
}

func TestTheLastSettingOfTheServiceCounts(t *testing.T) {
	t.Parallel()
	got := written("[Unit]\nType=unit\n[Service]\n# Type=no\nType = simple\nA=b=c\n[Install]\nType=x\n", "[Service]\nType=notify-reload\n")
	if len(got) != 2 || got["Type"] != "notify-reload" || got["A"] != "b=c" {
		t.Errorf("%q", got)
	}
}
