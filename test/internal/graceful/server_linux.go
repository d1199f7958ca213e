package graceful

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

const module = "github.com/handoff-dev/handoff"

// Build builds one version of the reference server, with the race detector.
func Build(t testing.TB, version string) string {
	t.Helper()
	return proctest.Build(t, proctest.Program{Package: module + "/examples/graceful", Ldflags: "-X main.version=" + version, Race: true})
}

// BuildPlain builds one version of the reference server as its users do.
func BuildPlain(t testing.TB, version string) string {
	t.Helper()
	return proctest.Build(t, proctest.Program{Package: module + "/examples/graceful", Ldflags: "-X main.version=" + version})
}

// Faulty builds the reference server's bad twin, see its documentation.
func Faulty(t testing.TB, when string) string {
	t.Helper()
	return proctest.Build(t, proctest.Program{Package: module + "/test/faulty", Ldflags: "-X main.fail=" + when})
}

// A Server is the reference server under test, in all its generations.
type Server struct {
	T       testing.TB
	Path    string // of its executable, which is replaced by upgrades
	PIDFile string
	Dir     string // its own, with all its files
	HTTP    string // addresses
	TLS     string
	Unix    string
	UDP     string

	First *proctest.Process // its output is that of all generations

	known map[int]*proctest.Adopted
	turns int
}

// Start starts version 1 with all its listeners and without probation; flags
// come after those.
func Start(t testing.TB, flags ...string) *Server {
	t.Helper()
	s := New(t, "")
	s.Install(Build(t, "1"))
	s.Run(proctest.Command(s.Path, append(s.Flags(), flags...)...))
	return s
}

// New prepares a server: a directory in parent ("" is that of temporary files)
// and addresses of its own. Install and Run are to follow.
func New(t testing.TB, parent string) *Server {
	t.Helper()
	// Not t.TempDir: a unix socket's path has to be short.
	dir, err := os.MkdirTemp(parent, "graceful-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return &Server{
		T:       t,
		Dir:     dir,
		Path:    filepath.Join(dir, "graceful"),
		PIDFile: filepath.Join(dir, "pid"),
		HTTP:    fmt.Sprintf("127.0.0.1:%d", proctest.FreePort(t)),
		TLS:     fmt.Sprintf("127.0.0.1:%d", proctest.FreePort(t)),
		Unix:    filepath.Join(dir, "socket"),
		UDP:     fmt.Sprintf("127.0.0.1:%d", proctest.FreePort(t)),
	}
}

// Flags returns those for all its listeners and no probation.
func (s *Server) Flags() []string {
	return []string{"-http", s.HTTP, "-https", s.TLS, "-unix", s.Unix, "-udp", s.UDP, "-pid-file", s.PIDFile, "-probation", "-1s"}
}

// Run starts the first generation and waits until it is ready.
func (s *Server) Run(cmd *exec.Cmd) {
	s.T.Helper()
	s.First = proctest.Start(s.T, cmd)
	s.First.Until("the server is ready", func() error {
		_, err := s.ReadPID()
		return err
	})
}

// Install puts an executable in the place of the server's, as a package manager
// does.
func (s *Server) Install(executable string) {
	s.T.Helper()
	next := s.Path + ".new"
	if out, err := exec.Command("cp", executable, next).CombinedOutput(); err != nil {
		s.T.Fatalf("cp: %v: %s", err, out)
	}
	if err := os.Rename(next, s.Path); err != nil {
		s.T.Fatal(err)
	}
}

// Main returns the main generation's pid.
func (s *Server) Main() int {
	s.T.Helper()
	pid, err := s.ReadPID()
	if err != nil {
		s.T.Fatal(err)
	}
	return pid
}

// ReadPID reads the PID file.
func (s *Server) ReadPID() (int, error) {
	text, err := os.ReadFile(s.PIDFile)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// Signal sends a signal to one of the generations.
func (s *Server) Signal(pid int, sig syscall.Signal) {
	s.T.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		s.T.Fatalf("kill -%v %d: %v", sig, pid, err)
	}
}

// Upgrade replaces the executable by another version, and reloads.
func (s *Server) Upgrade() int {
	s.T.Helper()
	s.turns++
	s.Install(Build(s.T, strconv.Itoa(2-s.turns%2)))
	return s.Reload()
}

// Reload sends SIGHUP and waits until a successor is the main generation. It
// returns its pid.
func (s *Server) Reload() int {
	s.T.Helper()
	old := s.Main()
	s.Signal(old, syscall.SIGHUP)
	return s.AwaitSuccessor(old)
}

// AwaitSuccessor waits until another process than old is the main generation.
func (s *Server) AwaitSuccessor(old int) int {
	s.T.Helper()
	var pid int
	proctest.Until(s.T, fmt.Sprintf("a successor of %d takes over", old), func() (err error) {
		if pid, err = s.ReadPID(); err == nil && pid == old {
			err = fmt.Errorf("pid %d is still in the PID file", old)
		}
		return err
	})
	s.Adopt(pid)
	return pid
}

// Adopt has a generation end with the test.
func (s *Server) Adopt(pid int) {
	if s.known == nil {
		s.known = make(map[int]*proctest.Adopted)
	}
	if s.known[pid] == nil && pid != s.First.Pid() {
		s.known[pid] = proctest.Adopt(s.T, pid)
	}
}

// Generation returns a generation that was adopted, or nil.
func (s *Server) Generation(pid int) *proctest.Adopted { return s.known[pid] }

// Stop stops the service and waits until all generations have ended.
func (s *Server) Stop() {
	s.T.Helper()
	s.Signal(s.Main(), syscall.SIGTERM)
	s.Gone()
}

// Gone waits until all generations have ended.
func (s *Server) Gone() {
	s.T.Helper()
	if err := s.First.Wait(); err != nil {
		s.T.Errorf("the first generation: %v", err)
	}
	for _, p := range s.known {
		p.Wait()
	}
}
