//go:build linux

package faults

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

const module = "github.com/handoff-dev/handoff"

func victim(t testing.TB, version string) string {
	return proctest.Build(t, proctest.Program{Package: module + "/test/faults/victim", Ldflags: "-X main.version=" + version})
}

// A service is the victim in all its generations, and the load on it.
type service struct {
	t    *testing.T
	c    *scenario
	dir  string
	exe  string // a symbolic link to the executable
	pids string // the PID file
	addr string
	unix string
	args []string

	manager *manager
	first   *proctest.Process
	procs   *processes
	load    *clients
	old     int            // the main generation when the fault strikes
	open    map[string]int // its descriptors then
	held    net.Conn       // a request that is under way in it
	reader  *os.File       // ends of a pipe that is its stderr
	writer  *os.File
}

func newService(t *testing.T, c *scenario) *service {
	t.Helper()
	// Not t.TempDir: a unix socket's path has to be short.
	dir, err := os.MkdirTemp("", "faults-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil { // a case runs it as another user
		t.Fatal(err)
	}
	s := &service{
		t: t, c: c, dir: dir,
		exe:  filepath.Join(dir, "victim"),
		pids: filepath.Join(dir, "pid"),
		addr: fmt.Sprintf("127.0.0.1:%d", proctest.FreePort(t)),
		unix: filepath.Join(dir, "socket"),
	}
	if c.manager {
		s.manager = startManager(t, dir)
	}
	s.install(victim(t, "1"))
	return s
}

// install puts a symbolic link to an executable in the place of the service's.
func (s *service) install(target string) {
	s.t.Helper()
	if err := os.Symlink(target, s.exe+".next"); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(s.exe+".next", s.exe); err != nil {
		s.t.Fatal(err)
	}
}

// command returns the command that starts the service. Where flags repeat one,
// they win.
func (s *service) command() *exec.Cmd {
	args := append([]string{"-http", s.addr, "-unix", s.unix, "-pid-file", s.pids, "-ready-timeout", "25s", "-probation", "300ms", "-drain", "20s"}, s.c.flags...)
	cmd := proctest.Command(s.exe, append(args, s.args...)...)
	cmd.Env = append(cmd.Env, "VICTIM_DIR="+s.dir)
	if s.manager != nil {
		cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+s.manager.address)
	}
	return cmd
}

// start starts the service, with change applied to its command, and waits until it
// serves.
func (s *service) start(change func(*service, *exec.Cmd)) {
	s.t.Helper()
	cmd := s.command()
	if change != nil {
		change(s, cmd)
	}
	s.first = proctest.Start(s.t, cmd)
	// Not at the end of the test: the watching must be over before the process's
	// own cleanup looks for survivors.
	s.procs = watchProcesses(s.t, s.dir, s.first.Pid())
	s.t.Cleanup(s.procs.close)
	s.first.Until("the service is ready", func() error {
		pid, err := s.main()
		if err == nil && s.host(pid) != s.first.Pid() {
			err = fmt.Errorf("the PID file names %d", pid) // of a generation that was killed
		}
		return err
	})
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("processes: %v\nlog:\n%s", s.procs.all(), s.log())
		}
	})
}

// main returns the pid in the PID file.
func (s *service) main() (int, error) {
	text, err := os.ReadFile(s.pids)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// serving asks on a new connection who answers.
func (s *service) serving() (int, error) {
	body, err := s.ask()
	if err != nil {
		return 0, err
	}
	pid, _, _ := strings.Cut(body, " ")
	return strconv.Atoi(pid)
}

// ask returns the pid, the generation and the version of who answers.
func (s *service) ask() (string, error) {
	conn, err := net.DialTimeout("tcp", s.addr, 10*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n")
	answer, err := io.ReadAll(conn)
	_, body, _ := strings.Cut(string(answer), "\r\n\r\n")
	return body, err
}

func (s *service) log() string {
	text, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return s.first.Output()
	}
	return string(text)
}

// awaitLog waits for a line with all of these texts.
func (s *service) awaitLog(texts ...string) {
	s.t.Helper()
	proctest.Until(s.t, fmt.Sprintf("a line of the log says %q", texts), func() error {
		if !hasLine(s.log(), texts...) {
			return errors.New("none does")
		}
		return nil
	})
}

func hasLine(log string, texts ...string) bool {
	for line := range strings.Lines(log) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			return true
		}
	}
	return false
}

func (s *service) write(name, content string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o666); err != nil {
		s.t.Fatal(err)
	}
}

func (s *service) remove(name string) {
	s.t.Helper()
	if err := os.Remove(filepath.Join(s.dir, name)); err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
}

// hold has the next process stop that comes to a step, until release.
func (s *service) hold(step string) { s.write("hold."+step, "") }

func (s *service) release(step string) { s.remove("hold." + step) }

// arrived waits for the process that is held.
func (s *service) arrived(step string) (pid int) {
	s.t.Helper()
	proctest.Until(s.t, "a process is held at "+step, func() error {
		found, err := filepath.Glob(filepath.Join(s.dir, "at."+step+".*"))
		if err != nil || len(found) == 0 {
			return errors.New("none is")
		}
		pid, err = strconv.Atoi(strings.TrimPrefix(filepath.Ext(found[0]), "."))
		return err
	})
	s.procs.look()
	return pid
}

// successor returns the process after the old one, which has shown itself.
func (s *service) successor() (pid int) {
	s.t.Helper()
	proctest.Until(s.t, "a successor appears", func() error {
		for _, p := range s.procs.all() {
			if p != s.old {
				pid = p
			}
		}
		if pid == 0 {
			return errors.New("none has")
		}
		return nil
	})
	return pid
}

// beforeTheFault puts the service under load and notes what there is.
func (s *service) beforeTheFault() {
	s.t.Helper()
	s.old = s.first.Pid()
	s.load = startClients(s.addr)
	s.t.Cleanup(func() { s.load.stop() })
	proctest.Until(s.t, "answers", func() error {
		if s.load.answered.Load() < 4 {
			return errors.New("there are too few")
		}
		return nil
	})
	var err error
	if s.open, err = descriptors(s.old); err != nil {
		s.t.Fatal(err)
	}
}

// holdRequest has the old generation answer a request until it is released.
func (s *service) holdRequest() {
	s.t.Helper()
	s.hold("request")
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.held = conn
	s.t.Cleanup(func() { conn.Close() })
	fmt.Fprint(conn, "GET /held HTTP/1.0\r\n\r\n")
	s.arrived("request")
}

// finishRequest returns how the held request has ended.
func (s *service) finishRequest() error {
	s.release("request")
	if err := s.held.SetDeadline(time.Now().Add(clientTimeout)); err != nil {
		return err
	}
	answer, err := io.ReadAll(s.held)
	if err == nil && !strings.HasSuffix(string(answer), "end") {
		err = fmt.Errorf("it was cut: %q", answer)
	}
	return err
}

// upgrade asks for an upgrade and waits for it. It returns the successor's pid.
func (s *service) upgrade() (pid int) {
	s.t.Helper()
	before, err := s.main()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := syscall.Kill(s.host(before), syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
	proctest.Until(s.t, fmt.Sprintf("a successor of %d takes over", before), func() (err error) {
		if pid, err = s.main(); err == nil && pid == before {
			err = errors.New("it is still in the PID file")
		}
		return err
	})
	return pid
}

// host returns the pid here of the main process, whose PID file may be of another
// pid namespace.
func (s *service) host(pid int) int {
	if pid == 1 {
		return s.first.Pid()
	}
	return pid
}

// sameDescriptors waits until the old generation has no more descriptors than
// before the fault.
func (s *service) sameDescriptors() {
	s.t.Helper()
	proctest.Until(s.t, "the old generation has closed what the upgrade needed", func() error {
		now, err := descriptors(s.old)
		for what, n := range now {
			if n > s.open[what] { // it had more just after its start, for a moment
				return fmt.Errorf("it has %v, had %v", now, s.open)
			}
		}
		return err
	})
}

// stop ends the service in the ordinary way.
func (s *service) stop() {
	s.t.Helper()
	pid, err := s.main()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := syscall.Kill(s.host(pid), syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	s.procs.gone()
}

// leftNothing checks that no file and no abstract socket remains.
func (s *service) leftNothing() {
	s.t.Helper()
	if left, err := filepath.Glob(s.pids + "*"); err != nil || len(left) > 0 {
		s.t.Errorf("left behind: %v %v", left, err)
	}
	if _, err := os.Lstat(s.unix); err == nil {
		s.t.Errorf("left behind: %s", s.unix)
	}
	started, err := os.ReadFile(filepath.Join(s.dir, "started"))
	if err != nil {
		s.t.Fatal(err)
	}
	sockets, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(started)) {
		fields := strings.Fields(line)
		if len(fields) > 2 && strings.HasPrefix(fields[2], "@") && strings.Contains(string(sockets), fields[2]) {
			s.t.Errorf("left behind: the abstract socket %s", fields[2])
		}
	}
}
