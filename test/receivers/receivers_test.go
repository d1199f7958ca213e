//go:build linux

package receivers

import (
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// stale is what a service finds in its own environment, and what must not reach its
// successor: every line of it would lead some reader astray.
var stale = []string{
	"LISTEN_PID=1", "LISTEN_FDS=7", "LISTEN_FDNAMES=a:b", "LISTEN_PIDFDID=12345", "LISTEN_FDS_FIRST_FD=9",
	"WATCHDOG_PID=1", "WATCHDOG_USEC=30000000", "SYSTEMD_EXEC_PID=1", "HANDOFF_LINK=5 1",
}

func staleCommand(path string, args ...string) *exec.Cmd {
	cmd := proctest.Command(path, args...)
	cmd.Env = append(cmd.Env, stale...)
	return cmd
}

// exportTo starts cmd with files by handoff.Export.
func exportTo(t *testing.T, cmd *exec.Cmd, files ...handoff.File) *proctest.Process {
	t.Helper()
	p, err := proctest.StartBy(t, cmd, func(cmd *exec.Cmd) error { return handoff.Export(cmd, files...) })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func listenTCP(t *testing.T) *net.TCPListener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.(*net.TCPListener)
}

func listenUnix(t *testing.T) *net.UnixListener {
	t.Helper()
	dir, err := os.MkdirTemp("", "handoff") // t.TempDir may be too long for an address
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "socket"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	t.Cleanup(func() { ln.Close() })
	return ln
}

// A receiver is a program that can be started with sockets.
type receiver struct {
	command func(t *testing.T) *exec.Cmd
	pid     bool // it reports its pid
	names   bool // … and the names
}

var receivers = map[string]receiver{
	"libsystemd": {pid: true, names: true, command: func(t *testing.T) *exec.Cmd {
		return staleCommand(buildLibsystemd(t))
	}},
	"python3-systemd": {pid: true, names: true, command: func(t *testing.T) *exec.Cmd {
		python := proctest.RequireTool(t, "/usr/bin/python3")
		proctest.RequireSuccess(t, "python3-systemd", python, "-c", "from systemd.daemon import listen_fds_with_names")
		return staleCommand(python, "-B", "testdata/python_systemd.py")
	}},
	"go-systemd": {pid: true, names: true, command: func(t *testing.T) *exec.Cmd {
		return staleCommand(proctest.Build(t, proctest.Program{Dir: "gosystemd", Package: "."}))
	}},
	"gunicorn": {pid: true, command: func(t *testing.T) *exec.Cmd {
		gunicorn := proctest.RequireTool(t, "/usr/bin/gunicorn")
		cmd := staleCommand(gunicorn, "--chdir", "testdata", "--workers", "1",
			"--bind", "127.0.0.1:"+strconv.Itoa(proctest.FreePort(t)), // not to be used, see below
			"gunicorn_app:app")
		cmd.Env = append(cmd.Env, "PYTHONDONTWRITEBYTECODE=1")
		return cmd
	}},
	"listenfd": {pid: true, command: func(t *testing.T) *exec.Cmd {
		return staleCommand(buildListenfd(t))
	}},
	"systemd-socket-proxyd": {command: func(t *testing.T) *exec.Cmd {
		proxyd := proctest.RequireTool(t, "/usr/lib/systemd/systemd-socket-proxyd")
		backend := listenTCP(t)
		go http.Serve(backend, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "name not known to a proxy\n")
		}))
		return staleCommand(proxyd, backend.Addr().String())
	}},
}

func buildLibsystemd(t *testing.T) string {
	t.Helper()
	gcc := proctest.RequireTool(t, "gcc")
	pkgConfig := proctest.RequireTool(t, "pkg-config")
	proctest.RequireSuccess(t, "libsystemd-dev", pkgConfig, "--exists", "libsystemd")
	return proctest.Once(t, "libsystemd", func(out string) ([]byte, error) {
		flags, err := exec.Command(pkgConfig, "--cflags", "--libs", "libsystemd").Output()
		if err != nil {
			return nil, err
		}
		args := append([]string{"-Wall", "-Wextra", "-Werror", "-o", out, "testdata/libsystemd.c"}, strings.Fields(string(flags))...)
		return exec.Command(gcc, args...).CombinedOutput()
	})
}

func buildListenfd(t *testing.T) string {
	t.Helper()
	cargo := proctest.RequireTool(t, "cargo")
	proctest.RequireSuccess(t, "librust-listenfd-dev", "sh", "-c", "ls -d /usr/share/cargo/registry/listenfd-1.*")
	return proctest.Once(t, "listenfd", func(out string) ([]byte, error) {
		cmd := exec.Command(cargo, "build", "--quiet", "--target-dir", filepath.Dir(out))
		cmd.Dir = "testdata/listenfd" // with its .cargo/config.toml
		if text, err := cmd.CombinedOutput(); err != nil {
			return text, err
		}
		return nil, os.Rename(filepath.Join(filepath.Dir(out), "debug", "listenfd-receiver"), out)
	})
}

func TestAForeignProgramServesOnTheVerySocketsThatItWasGiven(t *testing.T) {
	t.Parallel()
	for name, receiver := range receivers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := receiver.command(t)
			tcp, unix := listenTCP(t), listenUnix(t)
			inodes := []string{inode(t, tcp), inode(t, unix)}
			p := exportTo(t, cmd, handoff.File{Name: "http", Conn: tcp}, handoff.File{Name: "control", Conn: unix})
			pid := strconv.Itoa(p.Pid())

			// From here on nobody but the receiver can accept a connection.
			tcp.Close()
			unix.Close()
			for _, addr := range []net.Addr{tcp.Addr(), unix.Addr()} {
				r := reportFrom(t, p, addr)
				if receiver.pid {
					wantLines(t, "pid", r["pid"], []string{pid})
				}
				if receiver.names {
					wantLines(t, "name", r["name"], []string{"http", "control"})
				}
			}
			wantLines(t, "env", environmentOf(t, p.Pid()), []string{
				"LISTEN_FDS=2", "LISTEN_FDNAMES=http:control", "LISTEN_PID=" + pid,
				"WATCHDOG_USEC=30000000", "WATCHDOG_PID=" + pid, "SYSTEMD_EXEC_PID=" + pid,
			})
			open := slices.Collect(maps.Values(inodesOf(t, p.Pid())))
			for _, link := range inodes { // gunicorn moves them to other numbers
				if !slices.Contains(open, link) {
					t.Errorf("%s is not among what the receiver has open: %q", link, open)
				}
			}
			p.Stop(syscall.SIGTERM)
		})
	}
}

func TestGunicornDoesNotBindItsOwnAddressWhenItIsGivenSockets(t *testing.T) {
	t.Parallel()
	cmd := receivers["gunicorn"].command(t)
	own := cmd.Args[6]
	ln := listenTCP(t)
	p := exportTo(t, cmd, handoff.File{Name: "http", Conn: ln})
	ln.Close()
	reportFrom(t, p, ln.Addr()) // it has done all its binding by now
	if conn, err := net.Dial("tcp", own); err == nil {
		conn.Close()
		t.Errorf("gunicorn listens on %s, its own --bind", own)
	}
	p.Stop(syscall.SIGTERM)
}

func TestAReceiverHasTheStandardDescriptorsAndTheGivenOnesAlone(t *testing.T) {
	t.Parallel()
	tcp, unix := listenTCP(t), listenUnix(t)
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close() })
	reading, writing, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reading.Close(); writing.Close() })
	inheritable(t, writing)

	// One name twice, an empty one, and one with all that is allowed to be odd in it.
	odd := ` !"#$%&'()*+,-./;<=>?@[]^_{|}~`
	files := []handoff.File{
		{Name: "http", Conn: tcp}, {Name: odd, Conn: udp}, {Name: "", Conn: reading}, {Name: "http", Conn: unix},
	}
	var inodes []string
	for _, f := range files {
		inodes = append(inodes, inode(t, f.Conn))
	}
	p := exportTo(t, staleCommand(buildLibsystemd(t)), files...)
	tcp.Close()
	r := reportFrom(t, p, tcp.Addr())
	wantLines(t, "fd", r["fd"], []string{"0", "1", "2", "3", "4", "5", "6"})
	for i, open := 0, inodesOf(t, p.Pid()); i < len(inodes); i++ {
		if open[3+i] != inodes[i] {
			t.Errorf("descriptor %d is %s, want %s", 3+i, open[3+i], inodes[i])
		}
	}
	wantLines(t, "name", r["name"], []string{"http", odd, "", "http"})
	pid := strconv.Itoa(p.Pid())
	wantLines(t, "env", r["env"], []string{
		"LISTEN_FDS=4", "LISTEN_FDNAMES=http:" + odd + "::http", "LISTEN_PID=" + pid,
		"WATCHDOG_USEC=30000000", "WATCHDOG_PID=" + pid, "SYSTEMD_EXEC_PID=" + pid,
	})
	wantLines(t, "kind", r["kind"], []string{"inet stream listening", "inet datagram", "fifo", "unix stream listening"})
	p.Stop(syscall.SIGTERM)
}

// inheritable makes this process have a descriptor that lacks close-on-exec, as a C
// library or a careless package leaves them.
func inheritable(t *testing.T, f *os.File) {
	t.Helper()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var (
		fd   int
		derr error
	)
	if err := raw.Control(func(from uintptr) { fd, derr = syscall.Dup(int(from)) }); err != nil || derr != nil {
		t.Fatal(err, derr)
	}
	t.Cleanup(func() { syscall.Close(fd) })
}

func TestWithNoFilesAReceiverIsToldOfNone(t *testing.T) {
	t.Parallel()
	p := exportTo(t, staleCommand(buildLibsystemd(t)))
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	pid := strconv.Itoa(p.Pid())
	r := parseReport(p.Output())
	wantLines(t, "fd", r["fd"], []string{"0", "1", "2"})
	wantLines(t, "name", r["name"], nil)
	wantLines(t, "env", r["env"], []string{"WATCHDOG_USEC=30000000", "WATCHDOG_PID=" + pid, "SYSTEMD_EXEC_PID=" + pid})
}

// This is why Export goes to such lengths for LISTEN_PID: a pid that is not exact
// makes libsystemd hand out nothing, and say nothing.
func TestLibsystemdTakesNothingThatBearsAnotherPid(t *testing.T) {
	t.Parallel()
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := proctest.Command(buildLibsystemd(t))
	cmd.ExtraFiles = []*os.File{file}
	cmd.Env = append(cmd.Env, "LISTEN_FDS=1", "LISTEN_PID="+strconv.Itoa(os.Getpid()))
	p := proctest.Start(t, cmd)
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	r := parseReport(p.Output())
	if !slices.Contains(r["fd"], "3") {
		t.Errorf("descriptor 3 is not open: %q", r["fd"])
	}
	wantLines(t, "name", r["name"], nil)
}
