//go:build linux

package upgrade

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestAStormOfSignalsUpgradesOneAfterAnotherAndHonoursTheLast(t *testing.T) {
	s := graceful.Start(t)
	runner, err := load.Start(t.Context(), load.Config{Target: load.Target{Addr: s.HTTP}, Shape: load.NewConn(), Workers: 2, Rate: 200})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		// To whoever is the main generation at the moment, with no regard to what it
		// is at.
		if pid, err := s.ReadPID(); err == nil {
			_ = syscall.Kill(pid, syscall.SIGHUP)
		}
		time.Sleep(time.Millisecond) // the storm's rhythm, no proof hangs on it
	}
	s.Install(graceful.Build(t, "last"))
	s.Signal(s.Main(), syscall.SIGHUP)
	proctest.Until(t, "the version of the last signal serves", func() error {
		if v := s.Version(); v != "last" {
			return fmt.Errorf("version %s serves", v)
		}
		return nil
	})
	r := runner.Stop()
	for _, p := range r.PIDs {
		s.Adopt(p.PID)
	}
	s.Adopt(s.Main())
	s.Stop()
	graceful.NoLoss(t, r)
}

func TestSIGHUPToADrainingGenerationUpgradesTheNewest(t *testing.T) {
	next := graceful.Build(t, "by-the-oldest")
	s := graceful.Start(t)
	oldest := s.Main()
	stream := openStream(t, s)
	s.Upgrade()
	newer := s.Upgrade() // the generation in between is gone by now, or soon
	s.Install(next)
	s.Signal(oldest, syscall.SIGHUP)
	s.AwaitSuccessor(newer)
	if v := s.Version(); v != "by-the-oldest" {
		t.Errorf("version %s serves", v)
	}
	stream.Close()
	s.Stop()
}

func TestSIGTERMToADrainingGenerationMakesItHurryAndLeavesTheNewestAlone(t *testing.T) {
	s := graceful.Start(t)
	oldest := s.Main()
	stream := openStream(t, s)
	defer stream.Close()
	newest := s.Upgrade()
	s.Signal(oldest, syscall.SIGTERM)
	began := time.Now()
	if err := s.First.Wait(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v, as long as a drain without hurry", took)
	}
	if pid := s.Main(); pid != newest {
		t.Errorf("the main generation is %d, not %d", pid, newest)
	}
	if _, err := s.Get("/"); err != nil {
		t.Error(err)
	}
	s.Stop()
}

// openStream has the main generation serve a stream for as long as the connection
// is open.
func openStream(t *testing.T, s *graceful.Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprint(conn, "GET /stream?ms=600000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// A busy machine holds up one end or another; a wait in the code would hold up all.
func TestAGenerationWithoutConnectionsIsGoneRightAfterTheCommit(t *testing.T) {
	const soon = 50 * time.Millisecond
	var all []time.Duration
	for range 10 {
		took := commitToEnd(t)
		if all = append(all, took); took <= soon {
			t.Logf("gone %v after the commit", took)
			return
		}
	}
	t.Errorf("gone %v after the commit, and never within %v", all, soon)
}

var committed = regexp.MustCompile(`time=(\S+) .*msg=upgraded`)

// commitToEnd is how long the first generation lives on after its log says that it has
// handed over. It has had a client, who has left.
func commitToEnd(t *testing.T) time.Duration {
	t.Helper()
	s := graceful.New(t, "")
	s.Install(graceful.BuildPlain(t, "1"))
	s.Run(proctest.Command(s.Path, s.Flags()...))
	if _, err := s.Get("/"); err != nil {
		t.Fatal(err)
	}
	s.Signal(s.First.Pid(), syscall.SIGHUP)
	<-s.First.Exited()
	end := time.Now()
	s.AwaitSuccessor(s.First.Pid())
	s.Stop()
	m := committed.FindStringSubmatch(s.First.Output())
	if m == nil {
		t.Fatal("the log doesn't say that it has handed over")
	}
	at, err := time.Parse(time.RFC3339Nano, m[1])
	if err != nil {
		t.Fatal(err)
	}
	return end.Sub(at)
}

func TestTheSuccessorIsStartedAsTheFirstWas(t *testing.T) {
	for _, way := range []string{"RelativeArgv0", "MovedSymlink", "ByPATH"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			releases := []string{filepath.Join(dir, "r1"), filepath.Join(dir, "r2")}
			for i, r := range releases {
				if err := os.Mkdir(r, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.Link(graceful.Build(t, strconv.Itoa(i+1)), filepath.Join(r, "graceful")); err != nil {
					if out, err := proctest.Command("cp", graceful.Build(t, strconv.Itoa(i+1)), r+"/graceful").CombinedOutput(); err != nil {
						t.Fatalf("%v: %s", err, out)
					}
				}
			}
			current := filepath.Join(dir, "current")
			if err := os.Symlink(releases[0], current); err != nil {
				t.Fatal(err)
			}
			s := &graceful.Server{T: t, PIDFile: filepath.Join(dir, "pid"), HTTP: fmt.Sprintf("127.0.0.1:%d", proctest.FreePort(t))}
			cmd := proctest.Command(filepath.Join(current, "graceful"), "-http", s.HTTP, "-pid-file", "../pid", "-probation", "-1s")
			cmd.Dir = current
			cmd.Env = append(cmd.Env, "PWD="+current)
			switch way {
			case "RelativeArgv0":
				cmd.Args[0] = "./graceful"
			case "ByPATH":
				cmd.Args[0] = "graceful"
				cmd.Env = append(cmd.Env, "PATH="+current)
			}
			s.Run(cmd)
			if err := os.Symlink(releases[1], current+".new"); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(current+".new", current); err != nil {
				t.Fatal(err)
			}
			old := s.Main()
			s.Signal(old, syscall.SIGHUP)
			s.AwaitSuccessor(old)
			if v := s.Version(); v != "2" {
				t.Errorf("version %s serves after the symbolic link was moved", v)
			}
			s.Stop()
		})
	}
}
