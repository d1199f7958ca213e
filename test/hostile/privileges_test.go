//go:build linux

package hostile

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// rights returns what a process may do, in the kernel's words.
func rights(t testing.TB, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for line := range strings.Lines(string(text)) {
		switch key, _, _ := strings.Cut(line, ":"); key {
		case "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp":
			all.WriteString(line)
		}
	}
	return all.String()
}

// setcap gives an executable a file capability.
func setcap(t testing.TB, path, capability string) {
	t.Helper()
	tool := proctest.RequireTool(t, "setcap")
	if out, err := exec.Command(tool, capability, path).CombinedOutput(); err != nil {
		proctest.Missing(t, "files can have no capabilities here: setcap: %v: %s", err, out)
	}
}

// open lets every user write to the service's directory, for its PID file.
func (s *service) open() {
	s.t.Helper()
	if err := os.Chmod(s.dir, 0o777); err != nil {
		s.t.Fatal(err)
	}
}

// A successor has the rights of its predecessor, no more and no less.
func TestRightsStayThroughUpgrades(t *testing.T) {
	t.Parallel()
	requireRoot(t)
	setpriv := proctest.RequireTool(t, "setpriv")
	user := []string{setpriv, "--reuid=65534", "--regid=65534"}
	for _, c := range []struct {
		name    string
		wrapper []string
		flags   []string
		has     string // among the rights
	}{
		{"Root", nil, nil, "Uid:\t0\t0\t0\t0\n"},
		{"User", append(user, "--clear-groups"), nil, "CapEff:\t0000000000000000\n"},
		{"UserWithGroups", append(user, "--groups=65534,12345"), nil, "12345"},
		{"NoNewPrivileges", append(user, "--clear-groups", "--no-new-privs"), nil, "NoNewPrivs:\t1\n"},
		{"AmbientCapability", append(user, "--clear-groups", "--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service"), nil, "CapEff:\t0000000000000400\n"},
		{"EmptyBoundingSet", append(user, "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"), nil, "CapBnd:\t0000000000000000\n"},
		{"RootWithoutCapabilities", []string{setpriv, "--bounding-set=-all", "--inh-caps=-all"}, nil, "CapEff:\t0000000000000000\n"},
		{"RootThatBecomesAUser", nil, []string{"-uid", "65534"}, "Uid:\t65534\t65534\t65534\t65534\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := prepare(t, plain(t, "1"))
			s.open()
			s.start(s.command(c.wrapper, c.flags...))
			want := rights(t, s.main())
			if !strings.Contains(want, c.has) {
				t.Fatalf("the test has no ground: the rights are\n%s", want)
			}
			if c.name == "RootThatBecomesAUser" { // what only root may touch is no more to be had
				s.install(plain(t, "1"))
				if err := os.Chmod(s.path, 0o700); err != nil {
					t.Fatal(err)
				}
				s.fails("permission denied")
				if err := os.Chmod(s.path, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for generation := 2; generation <= 3; generation++ {
				a := s.upgrade()
				if a.generation != generation {
					t.Errorf("got %+v", a)
				}
				got := rights(t, a.pid)
				if c.name == "RootThatBecomesAUser" {
					// A process that starts as that user has no saved rights and no
					// capabilities; the first one has kept what setuid(2) leaves: none either.
					want = rights(t, a.pid)
					if strings.Contains(got, "\t0\t") || !strings.Contains(got, "CapEff:\t0000000000000000\n") {
						t.Errorf("the rights are\n%s", got)
					}
				}
				if got != want {
					t.Errorf("generation %d has the rights\n%sand the first one had\n%s", generation, got, want)
				}
			}
			s.stop()
		})
	}
}

func TestAServiceWithFileCapabilitiesUpgradesAndKeepsThem(t *testing.T) {
	t.Parallel()
	requireRoot(t)
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start"); err != nil || strings.TrimSpace(string(text)) != "1024" {
		proctest.Missing(t, "ports below 1024 are free for all here (net.ipv4.ip_unprivileged_port_start is %q)", text)
	}
	s := prepare(t, plain(t, "1"))
	s.open()
	capable := func(version string) {
		s.install(plain(t, version))
		setcap(t, s.path, "cap_net_bind_service=ep")
	}
	capable("1")
	s.addr = privilegedAddress(t)
	socket := filepath.Join(s.dir, "socket")
	cmd := s.command(nil, "-unix", socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	s.start(cmd)
	want := rights(t, s.main())
	if !strings.Contains(want, "CapEff:\t0000000000000400\n") {
		t.Fatalf("the test has no ground: the rights are\n%s", want)
	}
	for generation := 2; generation <= 3; generation++ {
		capable(fmt.Sprint(generation))
		if a := s.upgrade(); a.generation != generation || a.version != fmt.Sprint(generation) {
			t.Errorf("got %+v", a)
		}
		if got := rights(t, s.main()); got != want {
			t.Errorf("generation %d has the rights\n%sand the first one had\n%s", generation, got, want)
		}
	}
	// A version without them still serves: it inherits the socket.
	s.install(plain(t, "4"))
	if a := s.upgrade(); a.version != "4" || !strings.Contains(rights(t, a.pid), "CapEff:\t0000000000000000\n") {
		t.Errorf("got %+v with the rights\n%s", a, rights(t, a.pid))
	}
	s.stop()
}

// privilegedAddress returns one with a free port below 1024.
func privilegedAddress(t testing.TB) string {
	t.Helper()
	for port := 600; port < 1023; port++ {
		address := fmt.Sprintf("127.0.0.1:%d", port)
		if ln, err := net.Listen("tcp", address); err == nil {
			ln.Close()
			return address
		}
	}
	t.Fatal("no free port between 600 and 1022")
	return ""
}

// In whatever way a program got its rights, what its starter names is not executed
// with them.
func TestAnOrderToTheStageLendsNobodyRights(t *testing.T) {
	t.Parallel()
	requireRoot(t)
	for name, mode := range map[string]os.FileMode{"SetUID": os.ModeSetuid, "SetGID": os.ModeSetgid, "FileCapabilities": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := prepare(t, plain(t, "1"))
			s.raise(mode)
			if mode == 0 {
				setcap(t, s.path, "cap_net_bind_service,cap_dac_override=ep")
			}
			cmd := asNobody(s.path)
			cmd.Args = []string{"sh", "-c", "echo executed; cat /proc/self/status"}
			cmd.Env = append(cmd.Env, "HANDOFF_STAGE=3 1 /bin/sh", "LISTEN_FDS=1")
			out, err := cmd.CombinedOutput()
			text := string(out)
			var exit *exec.ExitError
			switch {
			case strings.Contains(text, "main runs"):
				t.Error("main has run")
			case mode != 0 && (!errors.As(err, &exit) || exit.ExitCode() != 126 || text != ""):
				t.Errorf("%v, output %q", err, text)
			case mode == 0 && (!strings.Contains(text, "CapEff:\t0000000000000000") || !strings.Contains(text, "CapAmb:\t0000000000000000")):
				t.Errorf("%v, output %q", err, text)
			}
		})
	}
}

// raise makes the service's executable setuid or setgid to root.
func (s *service) raise(mode os.FileMode) {
	s.t.Helper()
	s.open()
	if err := errors.Join(os.Chown(s.path, 0, 0), os.Chmod(s.path, 0o755|mode)); err != nil {
		s.t.Fatal(err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(s.dir, &fs); err == nil && fs.Flags&unix.ST_NOSUID != 0 {
		proctest.Missing(s.t, "/tmp is mounted nosuid")
	}
}

func asNobody(path string, args ...string) *exec.Cmd {
	cmd := proctest.Command(path, args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}

// The starter has the say over the arguments, the environment and the descriptors of a
// setuid program. It may become root for good, and is asked to upgrade then.
func TestASetuidProgramExecutesNothingThatItsStarterNames(t *testing.T) {
	t.Parallel()
	requireRoot(t)
	for name, flags := range map[string][]string{"AsItIs": nil, "WithTheUserForGood": {"-uid", "0"}, "WithTheUserBack": {"-uid", "65534"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := prepare(t, plain(t, "1"))
			s.raise(os.ModeSetuid)
			mark := filepath.Join(s.dir, "mark")
			evil := filepath.Join(s.dir, "evil")
			if err := os.WriteFile(evil, []byte("#!/bin/sh\nid >"+mark+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			// The file that argv[0] names is the program, as long as somebody looks.
			name := filepath.Join(s.dir, "name")
			if err := os.Symlink(s.path, name); err != nil {
				t.Fatal(err)
			}
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			ours, theirs := os.NewFile(uintptr(pair[0]), "link"), os.NewFile(uintptr(pair[1]), "link")
			defer ours.Close()
			defer theirs.Close()
			if _, err := ours.Write(packet(hello, goodHello)); err != nil {
				t.Fatal(err)
			}
			cmd := asNobody("/bin/bash", append([]string{"-c", `export HANDOFF_LINK="3 $$"; exec -a "$0" "$@"`, name,
				s.path, "-http", s.addr, "-pid-file", s.pids}, flags...)...)
			cmd.ExtraFiles = []*os.File{theirs}
			s.start(cmd)
			if a, err := s.who(); err != nil || a.generation != 1 {
				t.Errorf("it believes its starter: %+v, %v", a, err)
			}
			if err := errors.Join(os.Remove(name), os.Symlink(evil, name)); err != nil {
				t.Fatal(err)
			}
			s.fails("setuid")
			if text, err := os.ReadFile(mark); err == nil {
				t.Errorf("it has executed what its starter names, as %s", text)
			}
			s.stop()
		})
	}
}

// A process whose effective user is another than its real one may get rights back;
// what it starts could too.
func TestAProcessThatCanGetItsRightsBackDoesNotUpgrade(t *testing.T) {
	t.Parallel()
	requireRoot(t)
	s := prepare(t, plain(t, "1"))
	s.open()
	s.start(s.command(nil, "-euid", "65534"))
	s.fails("setuid")
	s.stop()
}

// Anybody may start a program that has file capabilities, and pretend to be its
// predecessor; that is not to have it remove a socket that is none of the starter's.
func TestAProgramWithFileCapabilitiesRemovesNoFileThatItsStarterNames(t *testing.T) {
	t.Parallel()
	requireRoot(t)
	victim := newVictim(t)
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(victim.dir, "live"), &st); err != nil {
		t.Fatal(err)
	}
	s := prepare(t, plain(t, "1"))
	s.open()
	setcap(t, s.path, "cap_dac_override=ep")
	ln, err := net.Listen("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	file, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "link"), os.NewFile(uintptr(pair[1]), "link")
	defer ours.Close()
	defer theirs.Close()
	lie := fmt.Sprintf(`{"version":1,"pid":1,"generation":7,"files":[{"name":"http","ours":true,"network":"tcp","address":%q,"path":%q,"device":%d,"inode":%d}]}`,
		s.addr, filepath.Join(victim.dir, "live"), st.Dev, st.Ino)
	if _, err := ours.Write(append(packet(hello, lie), packet(commit, "{}")...)); err != nil {
		t.Fatal(err)
	}
	cmd := asNobody("/bin/sh", "-c", `export HANDOFF_LINK="4 $$" LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http; exec "$@"`, "sh", s.path, "-http", s.addr)
	cmd.ExtraFiles = []*os.File{file, theirs}
	s.start(cmd)
	proctest.Until(t, "it is the main generation", func() error {
		if !strings.Contains(s.first.Output(), "has handed over") {
			return errors.New("it is not")
		}
		return nil
	})
	ours.Close() // or its end would be waited for
	if err := s.first.Stop(unix.SIGTERM); err != nil {
		t.Error(err)
	}
	victim.unharmed(t)
}
