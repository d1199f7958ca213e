//go:build linux

package hostile

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestMain(m *testing.M) {
	// What the tests' own starter left open is no matter of the services'.
	if err := unix.CloseRange(3, math.MaxUint32>>1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	proctest.Main(m)
}

const (
	module = "github.com/handoff-dev/handoff"
	nobody = 65534
)

// plain builds a version of the service. It has no race detector, which wants an
// ordinary process around it.
func plain(t testing.TB, version string) string {
	return proctest.Build(t, proctest.Program{Package: module + "/test/hostile/service", Ldflags: "-X main.version=" + version})
}

// raced builds it with the race detector.
func raced(t testing.TB, version string) string {
	return proctest.Build(t, proctest.Program{Package: module + "/test/hostile/service", Ldflags: "-X main.version=" + version, Race: true})
}

func requireRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		proctest.Missing(t, "this test changes users, and does not run as root")
	}
}

// folder returns a directory that every user can reach, with a short path.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "hostile-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A service is the program under attack, in all its generations.
type service struct {
	t    testing.TB
	dir  string
	path string // of its executable
	addr string
	pids string // its PID file

	first *proctest.Process
	known map[int]*proctest.Adopted
}

// prepare installs an executable and chooses an address.
func prepare(t testing.TB, executable string) *service {
	t.Helper()
	dir := folder(t)
	s := &service{
		t: t, dir: dir, path: filepath.Join(dir, "service"), pids: filepath.Join(dir, "pid"),
		addr: fmt.Sprintf("127.0.0.1:%d", proctest.FreePort(t)), known: map[int]*proctest.Adopted{},
	}
	s.install(executable)
	return s
}

// command returns how the service is started, by wrapper if there is one.
func (s *service) command(wrapper []string, flags ...string) *exec.Cmd {
	words := append(append([]string(nil), wrapper...), s.path, "-http", s.addr, "-pid-file", s.pids)
	words = append(words, flags...)
	return proctest.Command(words[0], words[1:]...)
}

// start starts cmd and waits for its readiness.
func (s *service) start(cmd *exec.Cmd) *service {
	s.t.Helper()
	s.first = proctest.Start(s.t, cmd)
	s.first.Until("it serves", func() error {
		_, err := s.who()
		return err
	})
	return s
}

func start(t testing.TB, executable string, flags ...string) *service {
	t.Helper()
	s := prepare(t, executable)
	return s.start(s.command(nil, flags...))
}

// install replaces the executable, as a package manager does.
func (s *service) install(executable string) {
	s.t.Helper()
	if out, err := exec.Command("cp", "--preserve=mode", executable, s.path+".new").CombinedOutput(); err != nil {
		s.t.Fatalf("cp: %v: %s", err, out)
	}
	if err := os.Rename(s.path+".new", s.path); err != nil {
		s.t.Fatal(err)
	}
}

// an answer of the service's tells who gave it.
type answer struct {
	pid, generation int
	version         string
}

func (s *service) who() (a answer, err error) {
	text, err := s.get("/")
	if err != nil {
		return a, err
	}
	_, err = fmt.Sscanf(text, "pid=%d generation=%d version=%s", &a.pid, &a.generation, &a.version)
	return a, err
}

func (s *service) get(path string) (string, error) {
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(proctest.Deadline(s.t))
	fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", path)
	all, err := io.ReadAll(conn)
	if err == nil && !strings.Contains(string(all), " 200 OK\r\n") {
		err = fmt.Errorf("answer %q", all)
	}
	_, body, _ := strings.Cut(string(all), "\r\n\r\n")
	return body, err
}

func (s *service) main() int {
	s.t.Helper()
	var pid int
	proctest.Until(s.t, "the PID file is there", func() (err error) {
		pid, err = s.readPID()
		return err
	})
	return pid
}

func (s *service) readPID() (int, error) {
	text, err := os.ReadFile(s.pids)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

func (s *service) signal(pid int, sig syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		s.t.Fatalf("kill -%v %d: %v", sig, pid, err)
	}
}

// upgrade asks for an upgrade, waits until it is through, and returns who answers
// then.
func (s *service) upgrade() answer {
	s.t.Helper()
	old := s.main()
	s.signal(old, syscall.SIGHUP)
	return s.taken(old)
}

// taken waits until another process than old has taken over and answers.
func (s *service) taken(old int) (a answer) {
	s.t.Helper()
	proctest.Until(s.t, fmt.Sprintf("a successor of %d takes over", old), func() error {
		pid, err := s.readPID()
		if err == nil && pid == old {
			err = fmt.Errorf("%d is still in the PID file", old)
		}
		if err != nil {
			return err
		}
		s.adopt(pid)
		if a, err = s.who(); err == nil && a.pid != pid {
			err = fmt.Errorf("%d answers, not %d", a.pid, pid)
		}
		return err
	})
	return a
}

func (s *service) adopt(pid int) {
	if s.known[pid] == nil && pid != s.first.Pid() {
		s.known[pid] = proctest.Adopt(s.t, pid)
	}
}

// fails asks for an upgrade that fails, and waits until the log says so, with words.
func (s *service) fails(words string) {
	s.t.Helper()
	before := strings.Count(s.first.Output(), "upgrade failed")
	old := s.main()
	s.signal(old, syscall.SIGHUP)
	proctest.Until(s.t, "the upgrade fails", func() error {
		if strings.Count(s.first.Output(), "upgrade failed") == before {
			return errors.New("no word of it")
		}
		return nil
	})
	out := s.first.Output()
	if last := out[strings.LastIndex(out, "upgrade failed"):]; !strings.Contains(last, words) {
		s.t.Errorf("the log says %q, want %q in it", last, words)
	}
	if pid := s.main(); pid != old {
		s.t.Errorf("the main generation is %d, not %d any more", pid, old)
	}
}

// stop stops the service and waits until all generations have ended.
func (s *service) stop() {
	s.t.Helper()
	s.signal(s.main(), syscall.SIGTERM)
	if err := s.first.Wait(); err != nil {
		s.t.Errorf("the first generation: %v", err)
	}
	for _, p := range s.known {
		p.Wait()
	}
	for _, bad := range []string{"panic", "DATA RACE", "fatal error"} {
		if strings.Contains(s.first.Output(), bad) {
			s.t.Errorf("%s in the log:\n%s", bad, s.first.Output())
		}
	}
}

// descriptors counts those of a process.
func descriptors(t testing.TB, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
