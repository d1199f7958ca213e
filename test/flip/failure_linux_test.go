package flip

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// tryChange asks for an upgrade that is to fail, and waits until it has.
func (s *service) tryChange(executable, why string) {
	s.T.Helper()
	s.Install(executable)
	s.Signal(s.Main(), syscall.SIGHUP)
	proctest.Until(s.T, "the upgrade fails", func() error {
		if out := s.First.Output(); !strings.Contains(out, "upgrade failed") || !strings.Contains(out, why) {
			return fmt.Errorf("the output doesn't say %q", why)
		}
		return nil
	})
}

func TestATableflipServerThatFailsBeforeReadyLeavesAllAsItWas(t *testing.T) {
	t.Parallel()
	s := start(t, buildTableflip(t))
	pid := s.change(buildHandoff(t, "-1ns"))
	if err := os.WriteFile(s.fail, []byte("exit"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.tryChange(buildTableflip(t), "exited: exit status 1")
	s.hasAll(pid, true)
	if err := os.Remove(s.fail); err != nil {
		t.Fatal(err)
	}
	s.hasAll(s.change(buildTableflip(t)), true)
	s.Stop()
}

// The test's end finds processes that are left.
func TestAStopEndsATableflipServerThatIsNotReady(t *testing.T) {
	t.Parallel()
	s := start(t, buildTableflip(t))
	pid := s.change(buildHandoff(t, "-1ns"))
	if err := os.WriteFile(s.fail, []byte("hang"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Install(buildTableflip(t))
	s.Signal(pid, syscall.SIGHUP)
	proctest.Until(t, "the successor hangs", func() error {
		if !strings.Contains(s.First.Output(), "told to hang") {
			return fmt.Errorf("it doesn't say so")
		}
		return nil
	})
	s.Stop()
}

// awaitProbation waits until a tableflip server is ready. It writes the PID file
// a little earlier.
func (s *service) awaitProbation(old int) int {
	s.T.Helper()
	next := s.AwaitSuccessor(old)
	proctest.Until(s.T, "the successor is on probation", func() error {
		if !strings.Contains(s.First.Output(), fmt.Sprintf("successor=%d", next)) {
			return fmt.Errorf("%d is not said to be ready", next)
		}
		return nil
	})
	return next
}

func TestATableflipServerThatDiesOnProbationIsReplacedByTheOldOne(t *testing.T) {
	t.Parallel()
	s := start(t, buildTableflip(t))
	pid := s.change(buildHandoff(t, "1h"))
	s.Install(buildTableflip(t))
	s.Signal(pid, syscall.SIGHUP)
	next := s.awaitProbation(pid)
	s.hasAll(next, true)
	s.Signal(next, syscall.SIGKILL)
	proctest.Until(t, "the old process is the main one again", func() error {
		if got, err := s.ReadPID(); err != nil || got != pid {
			return fmt.Errorf("in the PID file is %d (%v)", got, err)
		}
		return nil
	})
	s.hasAll(pid, true)
	s.Stop()
}

func TestATableflipServerOnProbationOutlivesTheDeathOfTheOldOne(t *testing.T) {
	t.Parallel()
	s := start(t, buildTableflip(t))
	pid := s.change(buildHandoff(t, "1h"))
	s.Install(buildTableflip(t))
	s.Signal(pid, syscall.SIGHUP)
	next := s.awaitProbation(pid)
	s.hasAll(next, true)
	s.Signal(pid, syscall.SIGKILL)
	s.Generation(pid).Wait()
	s.hasAll(next, true)
	s.hasAll(s.change(buildTableflip(t)), true) // for its parent has ended
	s.Stop()
}

func TestForATableflipServerTheParentLivesUntilTheOldProcessHasEnded(t *testing.T) {
	t.Parallel()
	s := start(t, buildTableflip(t))
	old := s.change(buildHandoff(t, "-1ns"))
	conn, err := net.Dial("tcp", s.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// Half a request keeps the old process from ending.
	fmt.Fprintf(conn, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na")
	s.hasAll(old, true) // so it has been accepted
	s.Install(buildTableflip(t))
	s.Signal(old, syscall.SIGHUP)
	next := s.AwaitSuccessor(old)
	proctest.Until(t, "the old process has handed over", func() error {
		if !strings.Contains(s.First.Output(), fmt.Sprintf("msg=upgraded pid=%d", old)) {
			return fmt.Errorf("%d doesn't say so", old)
		}
		return nil
	})
	s.Signal(next, syscall.SIGHUP)
	proctest.Until(t, "tableflip refuses an upgrade", func() error {
		if !strings.Contains(s.First.Output(), "parent hasn't exited") {
			return fmt.Errorf("not so far")
		}
		return nil
	})
	fmt.Fprint(conn, "b")
	if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
		t.Error(err)
	}
	conn.Close()
	s.ended(old)
	s.hasAll(s.change(buildTableflip(t)), true)
	s.Stop()
}

func TestAServerThatCameFromTableflipCanUpgradeWhileItsParentDrains(t *testing.T) {
	t.Parallel()
	s := start(t, buildTableflip(t))
	conn, err := net.Dial("tcp", s.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na")
	first := s.First.Pid()
	s.hasAll(first, false)
	s.Install(buildHandoff(t, "-1ns"))
	s.Signal(first, syscall.SIGHUP)
	second := s.AwaitSuccessor(first)
	third := s.change(buildHandoff(t, "-1ns"))
	if third == second {
		t.Fatal("there was no upgrade")
	}
	fmt.Fprint(conn, "b")
	s.ended(first)
	s.hasAll(third, true)
	s.Stop()
}

// A second descriptor of a listener would go on to listen when the program closes it.
func TestWhatComesFromTableflipIsOpenOnce(t *testing.T) {
	t.Parallel()
	for name, executable := range map[string]string{"handoff": buildHandoff(t, "-1ns"), "after a failed way back": buildHandoff(t, "-1ns")} {
		t.Run(name, func(t *testing.T) {
			s := start(t, buildTableflip(t))
			pid := s.change(executable)
			if name != "handoff" {
				if err := os.WriteFile(s.fail, []byte("exit"), 0o600); err != nil {
					t.Fatal(err)
				}
				s.tryChange(buildTableflip(t), "exited: exit status 1")
			}
			links, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/fd/*")
			if err != nil {
				t.Fatal(err)
			}
			seen, sockets := map[string]string{}, 0
			for _, link := range links {
				target, err := os.Readlink(link)
				if err != nil || !strings.HasPrefix(target, "socket:") {
					continue
				}
				sockets++
				if seen[target] != "" {
					t.Errorf("%s is %s and %s", target, seen[target], link)
				}
				seen[target] = link
			}
			if sockets < 4 {
				t.Errorf("only %d sockets were found", sockets)
			}
			s.Stop()
		})
	}
}
