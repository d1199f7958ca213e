//go:build linux

package hostile

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// things are descriptors of many kinds, nil is a closed one.
func things(t testing.TB) []*os.File {
	t.Helper()
	dir := t.TempDir()
	var all []*os.File
	add := func(f *os.File, err error) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
		t.Cleanup(func() { f.Close() })
	}
	raw := func(fd int, err error) { add(os.NewFile(uintptr(fd), "thing"), err) }
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	add(tcp.(*net.TCPListener).File())
	add(udp.(*net.UDPConn).File())
	unixListener, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	add(unixListener.(*net.UnixListener).File())
	unixListener.Close()
	add(os.Open(dir))
	add(os.Open(os.DevNull))
	add(os.Create(filepath.Join(dir, "file")))
	raw(unix.EpollCreate1(unix.EPOLL_CLOEXEC))
	raw(unix.Eventfd(0, unix.EFD_CLOEXEC))
	raw(unix.MemfdCreate("thing", unix.MFD_CLOEXEC))
	raw(unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0))
	raw(unix.PidfdOpen(os.Getpid(), 0))
	raw(unix.InotifyInit1(unix.IN_CLOEXEC))
	raw(unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0))
	raw(unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	raw(unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0))
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	raw(pair[0], err)
	unix.Close(pair[1])
	r, w, err := os.Pipe()
	add(r, err)
	add(w, err)
	return append(all, nil, nil, nil)
}

// junk are values that no variable is meant to have, and some that it may have.
var junk = []string{
	"", " ", "0", "1", "2", "3", "4", "7", "-1", "-2147483648", "2147483647", "2147483648", "4294967299", "9223372036854775807",
	"18446744073709551615", "99999999999999999999999", "1e3", "0x3", "+1", " 1", "1 ", "1\n", "١", "\xff\xfe", "a", "a:b", ":", "::", ":::::",
	"a\\x3ab", "1:2:3", "%s%n", "../../etc/passwd", "/", "/dev/null", "/nonexistent/x", "@", "@@", "@nobody-is-here", "vsock:", "vsock:1:2", "vsock:2:x", "unix:/x",
	"PID", "3 PID", "4 PID", "5 PID", "6 PID", "0 PID", "-1 PID", "99999 PID", "3 PID x", "x PID", " PID",
	strings.Repeat("a", 300), strings.Repeat("/x", 60), strings.Repeat("1", 5000), strings.Repeat(":", 70000),
}

var variables = []string{
	"LISTEN_FDS", "LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDNAMES", "LISTEN_FDS_FIRST_FD", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
	"HANDOFF_LINK", "SYSTEMD_EXEC_PID", "INVOCATION_ID", "PWD", "FDSTORE", "PATH",
}

// brief runs a command that has to end by itself, in an environment in which
// the word PID is its pid, and returns its output and exit code.
func brief(t testing.TB, path, name string, env map[string]string, files []*os.File, args ...string) (string, int) {
	t.Helper()
	// $0 is the file, $1 its argv[0], the rest are the arguments.
	var script strings.Builder
	cmd := exec.Command("/bin/bash", "-c", "", path, name)
	cmd.Env = []string{"HOME=/", "GOTRACEBACK=single", "GORACE=atexit_sleep_ms=0"}
	for key, value := range env {
		if before, after, ok := strings.Cut(value, "PID"); ok {
			fmt.Fprintf(&script, "export %s=%q$$%q\n", key, before, after)
		} else {
			cmd.Env = append(cmd.Env, key+"="+value)
		}
	}
	script.WriteString(`name=$1; shift; exec -a "$name" "$0" "$@"`)
	cmd.Args[2] = script.String()
	cmd.Args = append(cmd.Args, args...)
	cmd.ExtraFiles = files
	cmd.Dir = "/"
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The longest wait in the library is for a predecessor's hello.
	late := time.AfterFunc(25*time.Second, func() { cmd.Process.Signal(unix.SIGABRT) })
	err := cmd.Wait()
	if !late.Stop() {
		t.Errorf("it hangs with %q", env)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func TestNoEnvironmentMakesAServiceHangOrCrash(t *testing.T) {
	t.Parallel()
	path := plain(t, "1")
	t.Run("OneVariable", func(t *testing.T) {
		t.Parallel()
		for _, variable := range variables {
			for range 4 {
				oddEnvironment(t, path, "service", map[string]string{variable: junk[rand.IntN(len(junk))]}, nil)
			}
		}
	})
	t.Run("ArgumentZero", func(t *testing.T) {
		t.Parallel()
		for _, name := range []string{"", "/", ".", "..", "/etc/passwd", "sh", "/bin/sh", "\xff", strings.Repeat("a", 5000), "./service", "no/such"} {
			oddEnvironment(t, path, name, nil, nil)
		}
	})
	t.Run("ManyVariables", func(t *testing.T) {
		t.Parallel()
		all := things(t)
		for range 100 {
			oddEnvironment(t, path, "service", someEnvironment(), some(all))
		}
	})
}

func TestNoEnvironmentOfManyMakesAServiceHangOrCrash(t *testing.T) {
	proctest.RequireLong(t)
	path := plain(t, "1")
	all := things(t)
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end) && !t.Failed(); {
		oddEnvironment(t, path, "service", someEnvironment(), some(all))
	}
}

func someEnvironment() map[string]string {
	env := map[string]string{}
	for range 1 + rand.IntN(5) {
		env[variables[rand.IntN(len(variables))]] = junk[rand.IntN(len(junk))]
	}
	if rand.IntN(2) == 0 { // so that it comes as far as the descriptors
		env["LISTEN_FDS"] = fmt.Sprint(1 + rand.IntN(4))
		delete(env, "LISTEN_PIDFDID")
		delete(env, "LISTEN_FDNAMES")
		env["LISTEN_PID"] = "PID"
	}
	return env
}

// some returns a few of all, and one of them twice now and then.
func some(all []*os.File) (files []*os.File) {
	for range rand.IntN(8) {
		files = append(files, all[rand.IntN(len(all))])
	}
	return files
}

// oddEnvironment starts the service, which has either to become ready or to say why
// it can't.
func oddEnvironment(t testing.TB, path, name string, env map[string]string, files []*os.File) {
	t.Helper()
	out, code := brief(t, path, name, env, files, "-once")
	ready := strings.Contains(out, "\nready\n")
	excused := strings.Contains(out, "\nservice: ")
	if code != 0 && code != 1 || ready != (code == 0) || excused == ready || strings.Contains(out, "goroutine ") {
		t.Errorf("started as %q in %q with %d descriptors: exit status %d\n%s", name, env, len(files), code, out)
	}
}

func TestAStageWithJunkNeverRunsMain(t *testing.T) {
	t.Parallel()
	path := plain(t, "1")
	all := things(t)
	orders := []string{"x", "3", "3 1", "3 1 ", "3 2 ", "1 1 /bin/true", "0 0 /bin/true", "2 1 /bin/true", "-1 0 /bin/true", "x 1 /bin/true",
		"3 4 /bin/true", "3 123 x", "3 1 /nonexistent", "3 0 ./nonexistent", "3 1 /etc/passwd", "3 1 /", "3 0 \xff", "99999999999 1 /nonexistent", "9223372036854775808 1 /bin/true", "  /bin/true"}
	for _, value := range junk {
		orders = append(orders, value, "3 1 /nonexistent/"+value[:min(len(value), 100)])
	}
	check := func(order string, files []*os.File) {
		out, code := brief(t, path, "service", map[string]string{"HANDOFF_STAGE": order, "LISTEN_FDS": "1"}, files, "-once")
		if code != 126 && code != 127 || strings.Contains(out, "main runs") || strings.Contains(out, "goroutine ") {
			t.Errorf("HANDOFF_STAGE=%q: exit status %d, output %q", order, code, out)
		}
	}
	for i, order := range orders {
		check(order, all[i%len(all):][:1])
	}
	for fd := range len(all) + 2 { // a report to each thing, and to what is closed
		check(fmt.Sprintf("%d 1 /nonexistent", 3+fd), all)
	}
}

func TestAProgramThatIsItsOwnStageClosesNoDescriptorThatNobodyPassed(t *testing.T) {
	t.Parallel()
	for fd := 3; fd < 12; fd++ { // some are the runtime's own by then
		out, code := brief(t, plain(t, "1"), "service", map[string]string{"HANDOFF_STAGE": fmt.Sprintf("%d 2 /nonexistent", fd)}, nil, "-once")
		if out != "" || code != 126 {
			t.Errorf("descriptor %d: output %q, exit status %d", fd, out, code)
		}
	}
}

func TestAStageReportsToNoDescriptorThatTheOthersUse(t *testing.T) {
	t.Parallel()
	for fd := range 3 {
		out, code := brief(t, plain(t, "1"), "service", map[string]string{"HANDOFF_STAGE": fmt.Sprintf("%d 0 /nonexistent", fd)}, nil)
		if out != "" || code != 126 {
			t.Errorf("descriptor %d: output %q, exit status %d", fd, out, code)
		}
	}
}

func TestALinkThatNobodyPassedIsAnError(t *testing.T) {
	t.Parallel()
	for fd := 3; fd < 12; fd++ { // some are the runtime's own by the time the link is looked for
		out, code := brief(t, plain(t, "1"), "service", map[string]string{"HANDOFF_LINK": fmt.Sprintf("%d PID", fd)}, nil, "-once")
		if code != 1 || !strings.Contains(out, "\nservice: handoff: HANDOFF_LINK=") {
			t.Errorf("descriptor %d: exit status %d, output %q", fd, code, out)
		}
	}
}

func TestALinkThatIsOneOfTheListenersIsAnError(t *testing.T) {
	t.Parallel()
	out, code := brief(t, plain(t, "1"), "service", map[string]string{"HANDOFF_LINK": "4 PID", "LISTEN_FDS": "2"}, things(t)[:2], "-once")
	if code != 1 || !strings.Contains(out, "\nservice: handoff: LISTEN_FDS=") {
		t.Errorf("exit status %d, output %q", code, out)
	}
}
