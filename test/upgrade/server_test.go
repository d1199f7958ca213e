//go:build linux

package upgrade

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

const module = "github.com/handoff-dev/handoff"

// graceful builds one version of the reference server.
func graceful(t testing.TB, version string) string {
	return proctest.Build(t, proctest.Program{Package: module + "/examples/graceful", Ldflags: "-X main.version=" + version, Race: true})
}

// faulty builds the reference server's bad twin, see its documentation.
func faulty(t testing.TB, when string) string {
	return proctest.Build(t, proctest.Program{Package: module + "/test/faulty", Ldflags: "-X main.fail=" + when})
}

// A server is the reference server under test, in all its generations.
type server struct {
	t    testing.TB
	path string // of its executable, which is replaced by upgrades
	pids string // its PID file
	dir  string
	http string // addresses
	tls  string
	unix string
	udp  string

	first *proctest.Process
	known map[int]*proctest.Adopted
	turns int
}

// start starts version 1 with all its listeners and without probation; flags
// come after those.
func start(t testing.TB, flags ...string) *server {
	t.Helper()
	// Not t.TempDir: a unix socket's path has to be short.
	dir, err := os.MkdirTemp("", "graceful-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &server{
		t:     t,
		dir:   dir,
		path:  filepath.Join(dir, "graceful"),
		pids:  filepath.Join(dir, "pid"),
		http:  fmt.Sprintf("127.0.0.1:%d", proctest.FreePort(t)),
		tls:   fmt.Sprintf("127.0.0.1:%d", proctest.FreePort(t)),
		unix:  filepath.Join(dir, "socket"),
		udp:   fmt.Sprintf("127.0.0.1:%d", proctest.FreePort(t)),
		known: make(map[int]*proctest.Adopted),
	}
	s.install(graceful(t, "1"))
	args := append([]string{"-http", s.http, "-https", s.tls, "-unix", s.unix, "-udp", s.udp, "-pid-file", s.pids, "-probation", "-1s"}, flags...)
	s.first = proctest.Start(t, proctest.Command(s.path, args...))
	s.first.Until("the server is ready", func() error {
		_, err := s.readPID()
		return err
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("output of all generations:\n%s", s.first.Output())
		}
	})
	return s
}

// install puts an executable in the place of the server's, as a package manager
// does.
func (s *server) install(executable string) {
	s.t.Helper()
	next := s.path + ".new"
	if out, err := exec.Command("cp", executable, next).CombinedOutput(); err != nil {
		s.t.Fatalf("cp: %v: %s", err, out)
	}
	if err := os.Rename(next, s.path); err != nil {
		s.t.Fatal(err)
	}
}

// main returns the main generation's pid.
func (s *server) main() int {
	s.t.Helper()
	pid, err := s.readPID()
	if err != nil {
		s.t.Fatal(err)
	}
	return pid
}

func (s *server) readPID() (int, error) {
	text, err := os.ReadFile(s.pids)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// signal sends a signal to one of the generations.
func (s *server) signal(pid int, sig syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		s.t.Fatalf("kill -%v %d: %v", sig, pid, err)
	}
}

// upgrade replaces the executable by another version, sends SIGHUP, and waits
// until the successor is the main generation. It returns its pid.
func (s *server) upgrade() int {
	s.t.Helper()
	s.turns++
	s.install(graceful(s.t, strconv.Itoa(2-s.turns%2)))
	old := s.main()
	s.signal(old, syscall.SIGHUP)
	return s.awaitSuccessor(old)
}

// awaitSuccessor waits until another process than old is the main generation.
func (s *server) awaitSuccessor(old int) int {
	s.t.Helper()
	var pid int
	proctest.Until(s.t, fmt.Sprintf("a successor of %d takes over", old), func() (err error) {
		if pid, err = s.readPID(); err == nil && pid == old {
			err = fmt.Errorf("pid %d is still in the PID file", old)
		}
		return err
	})
	s.adopt(pid)
	return pid
}

// adopt has a generation end with the test.
func (s *server) adopt(pid int) {
	if s.known[pid] == nil && pid != s.first.Pid() {
		s.known[pid] = proctest.Adopt(s.t, pid)
	}
}

// stop stops the service and waits until all generations have ended.
func (s *server) stop() {
	s.t.Helper()
	s.signal(s.main(), syscall.SIGTERM)
	s.gone()
}

// gone waits until all generations have ended.
func (s *server) gone() {
	s.t.Helper()
	if err := s.first.Wait(); err != nil {
		s.t.Errorf("the first generation: %v", err)
	}
	for _, p := range s.known {
		p.Wait()
	}
}

// get returns what a URL answers on a new connection.
func (s *server) get(path string) (string, error) {
	conn, err := net.Dial("tcp", s.http)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", path)
	all, err := io.ReadAll(conn)
	_, body, _ := strings.Cut(string(all), "\r\n\r\n")
	return body, err
}

// noLoss fails the test for each request that was lost.
func noLoss(t testing.TB, r load.Result) {
	t.Helper()
	t.Logf("%v: %d requests on %d connections, %d reconnects, %d retryable, %d failed; p99.9 steady %v, around upgrades %v",
		r.Shapes, r.Requests, r.Connections, r.Reconnects, r.Retryable, r.Failed, r.Steady.P999, r.Around.P999)
	if r.Failed > 0 {
		t.Errorf("failed: %v", r.Failures)
		for _, f := range r.Errors {
			t.Errorf("  %v %s worker %d request %d: %s", f.Time.Format("15:04:05.000"), f.Shape, f.Worker, f.Request, f.Error)
		}
	}
	if r.OK == 0 {
		t.Error("no request was answered at all")
	}
}
