//go:build linux

package upgrade

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// version returns the version that answers.
func (s *server) version() string {
	s.t.Helper()
	body, err := s.get("/")
	if err != nil {
		s.t.Fatal(err)
	}
	_, version, ok := strings.Cut(strings.TrimSpace(body), "version=")
	if !ok {
		s.t.Fatalf("the server says %q", body)
	}
	return version
}

func TestAStormOfSignalsUpgradesOneAfterAnotherAndHonoursTheLast(t *testing.T) {
	s := start(t)
	runner, err := load.Start(t.Context(), load.Config{Target: load.Target{Addr: s.http}, Shape: load.NewConn(), Workers: 2, Rate: 200})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		// To whoever is the main generation at the moment, with no regard to what it
		// is at.
		if pid, err := s.readPID(); err == nil {
			_ = syscall.Kill(pid, syscall.SIGHUP)
		}
		time.Sleep(time.Millisecond) // the storm's rhythm, no proof hangs on it
	}
	s.install(graceful(t, "last"))
	s.signal(s.main(), syscall.SIGHUP)
	proctest.Until(t, "the version of the last signal serves", func() error {
		if v := s.version(); v != "last" {
			return fmt.Errorf("version %s serves", v)
		}
		return nil
	})
	r := runner.Stop()
	for _, p := range r.PIDs {
		s.adopt(p.PID)
	}
	s.adopt(s.main())
	s.stop()
	noLoss(t, r)
}

func TestSIGHUPToADrainingGenerationUpgradesTheNewest(t *testing.T) {
	next := graceful(t, "by-the-oldest")
	s := start(t)
	oldest := s.main()
	stream := s.openStream()
	s.upgrade()
	newer := s.upgrade() // the generation in between is gone by now, or soon
	s.install(next)
	s.signal(oldest, syscall.SIGHUP)
	s.awaitSuccessor(newer)
	if v := s.version(); v != "by-the-oldest" {
		t.Errorf("version %s serves", v)
	}
	stream.Close()
	s.stop()
}

func TestSIGTERMToADrainingGenerationMakesItHurryAndLeavesTheNewestAlone(t *testing.T) {
	s := start(t)
	oldest := s.main()
	stream := s.openStream()
	defer stream.Close()
	newest := s.upgrade()
	s.signal(oldest, syscall.SIGTERM)
	began := time.Now()
	if err := s.first.Wait(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v, as long as a drain without hurry", took)
	}
	if pid := s.main(); pid != newest {
		t.Errorf("the main generation is %d, not %d", pid, newest)
	}
	if _, err := s.get("/"); err != nil {
		t.Error(err)
	}
	s.stop()
}

// openStream has the main generation serve a stream for as long as the connection
// is open.
func (s *server) openStream() net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.http)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	fmt.Fprint(conn, "GET /stream?ms=600000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		s.t.Fatal(err)
	}
	return conn
}

func TestAGenerationWithoutConnectionsIsGoneRightAfterTheCommit(t *testing.T) {
	s := start(t)
	began := time.Now()
	s.upgrade()
	if err := s.first.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("signal, upgrade and end of the old process took %v", time.Since(began))
	s.stop()
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
				if err := os.Link(graceful(t, strconv.Itoa(i+1)), filepath.Join(r, "graceful")); err != nil {
					if out, err := proctest.Command("cp", graceful(t, strconv.Itoa(i+1)), r+"/graceful").CombinedOutput(); err != nil {
						t.Fatalf("%v: %s", err, out)
					}
				}
			}
			current := filepath.Join(dir, "current")
			if err := os.Symlink(releases[0], current); err != nil {
				t.Fatal(err)
			}
			s := &server{t: t, pids: filepath.Join(dir, "pid"), http: fmt.Sprintf("127.0.0.1:%d", proctest.FreePort(t)), known: make(map[int]*proctest.Adopted)}
			cmd := proctest.Command(filepath.Join(current, "graceful"), "-http", s.http, "-pid-file", "../pid", "-probation", "-1s")
			cmd.Dir = current
			cmd.Env = append(cmd.Env, "PWD="+current)
			switch way {
			case "RelativeArgv0":
				cmd.Args[0] = "./graceful"
			case "ByPATH":
				cmd.Args[0] = "graceful"
				cmd.Env = append(cmd.Env, "PATH="+current)
			}
			s.first = proctest.Start(t, cmd)
			s.first.Until("the server is ready", func() error { _, err := s.readPID(); return err })
			if err := os.Symlink(releases[1], current+".new"); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(current+".new", current); err != nil {
				t.Fatal(err)
			}
			old := s.main()
			s.signal(old, syscall.SIGHUP)
			s.awaitSuccessor(old)
			if v := s.version(); v != "2" {
				t.Errorf("version %s serves after the symbolic link was moved", v)
			}
			s.stop()
		})
	}
}
