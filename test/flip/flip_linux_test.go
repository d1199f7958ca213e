package flip

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// A service is one that changes between toolkits.
type service struct {
	*graceful.Server
	memo string
	fail string
	conn net.Conn      // that it keeps
	line *bufio.Reader // of it
}

func start(t *testing.T, executable string) *service {
	t.Helper()
	s := &service{Server: graceful.New(t, "")}
	s.start(executable)
	return s
}

func (s *service) start(executable string) {
	t := s.T
	t.Helper()
	s.memo, s.fail = filepath.Join(s.Dir, "memo"), filepath.Join(s.Dir, "fail")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s.Install(executable)
	s.Run(proctest.Command(s.Path, "-http", s.HTTP, "-unix", s.Unix, "-udp", s.UDP, "-pid-file", s.PIDFile,
		"-peer", ln.Addr().String(), "-memo", s.memo, "-fail", s.fail))
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s.conn, s.line = conn, bufio.NewReader(conn)
	t.Cleanup(func() {
		if strings.Contains(s.First.Output(), "DATA RACE") {
			t.Errorf("a data race:\n%s", s.First.Output())
		}
	})
}

// change upgrades to another executable, and waits until the old process has ended: a
// tableflip server can't be upgraded earlier.
func (s *service) change(executable string) int {
	s.T.Helper()
	old := s.Main()
	s.Install(executable)
	s.Signal(old, syscall.SIGHUP)
	pid := s.AwaitSuccessor(old)
	s.ended(old)
	return pid
}

func (s *service) ended(pid int) {
	s.T.Helper()
	if p := s.Generation(pid); p != nil {
		p.Wait()
		return
	}
	if err := s.First.Wait(); err != nil {
		s.T.Errorf("the first process: %v", err)
	}
}

// hasAll checks that process pid has all that the first one had, and serves alone.
func (s *service) hasAll(pid int, successor bool) {
	s.T.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	r, err := client.Get("http://" + s.HTTP + "/kept")
	if err != nil {
		s.T.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if want := fmt.Sprintln(successor, nil, nil); err != nil || string(text) != want {
		s.T.Fatalf("/kept: %q, %v; want %q", text, err, want)
	}
	if got := r.Header.Get("X-Pid"); got != strconv.Itoa(pid) {
		s.T.Errorf("HTTP was answered by %s, not %d", got, pid)
	}
	if err := s.conn.SetDeadline(proctest.Deadline(s.T)); err != nil { // now, for a build may have come before
		s.T.Fatal(err)
	}
	line, err := s.line.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != strconv.Itoa(pid) {
		s.T.Errorf("on the connection came %q, %v; want %d", line, err, pid)
	}
	text, err = os.ReadFile(s.memo)
	if err != nil || !strings.HasSuffix("\n"+string(text), fmt.Sprintf("\n%d\n", pid)) {
		s.T.Errorf("in the file is %q, %v; want it to end with %d", text, err, pid)
	}
	s.local(pid, "/")
	s.echoes(pid)
}

// local asks process pid on the unix socket.
func (s *service) local(pid int, path string) string {
	s.T.Helper()
	conn, err := net.Dial("unix", s.Unix)
	if err != nil {
		s.T.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(proctest.Deadline(s.T)); err != nil {
		s.T.Fatal(err)
	}
	fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", path)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		s.T.Fatal(err)
	}
	if got := answer.Header.Get("X-Pid"); got != strconv.Itoa(pid) {
		s.T.Errorf("on the unix socket %s has answered, not %d", got, pid)
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.T.Fatal(err)
	}
	return string(text)
}

func TestTheShimAloneHandsOnAllThatIsAdded(t *testing.T) {
	t.Parallel()
	s := start(t, buildShim(t))
	s.hasAll(s.First.Pid(), false)
	for range 3 {
		s.hasAll(s.change(buildShim(t)), true)
	}
	s.Stop()
}

func TestPort0KeepsItsPortOverAllChanges(t *testing.T) {
	t.Parallel()
	s := &service{Server: graceful.New(t, "")}
	s.HTTP = "localhost:0"
	s.start(buildTableflip(t))
	address := s.local(s.First.Pid(), "/address")
	for _, executable := range []string{buildHandoff(t, "-1ns"), buildHandoff(t, "-1ns"), buildTableflip(t), buildShim(t), buildShim(t), buildTableflip(t)} {
		if got := s.local(s.change(executable), "/address"); got != address {
			t.Errorf("the address was %s and became %s", address, got)
		}
	}
	s.Stop()
}

// echoes checks the packet conn.
func (s *service) echoes(pid int) {
	s.T.Helper()
	conn, err := net.Dial("udp", s.UDP)
	if err != nil {
		s.T.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(proctest.Deadline(s.T)); err != nil {
		s.T.Fatal(err)
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		s.T.Fatal(err)
	}
	buf := make([]byte, 100)
	n, err := conn.Read(buf)
	if want := fmt.Sprintf("hello pid=%d", pid); err != nil || string(buf[:n]) != want {
		s.T.Errorf("datagram %q, %v; want %q", buf[:n], err, want)
	}
}

func TestAllThatATableflipServerPassesArrivesAndGoesBack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		our  string
	}{{"handoff", buildHandoff(t, "-1ns")}, {"shim", buildShim(t)}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, buildTableflip(t))
			s.hasAll(s.First.Pid(), false)
			for range 2 {
				s.hasAll(s.change(c.our), true)
				s.hasAll(s.change(c.our), true)
				s.hasAll(s.change(buildTableflip(t)), true)
				s.hasAll(s.change(buildTableflip(t)), true)
			}
			s.Stop()
			if _, err := os.Stat(s.Unix); !os.IsNotExist(err) {
				t.Errorf("after the end the unix socket is still there: %v", err)
			}
		})
	}
}

// TestTwentyTimesBackAndForth is strict where this project drains: no failure of any kind. Where tableflip
// drains, it closes connections that wait for a request (net/http's Shutdown); so those
// may be lost then, and nothing else may.
func TestTwentyTimesBackAndForth(t *testing.T) {
	for _, c := range []struct {
		name string
		our  string
	}{{"handoff", buildHandoff(t, "-1ns")}, {"shim", buildShim(t)}} {
		t.Run(c.name, func(t *testing.T) {
			their := buildTableflip(t)
			s := start(t, their)
			tcp, local := load.Target{Addr: s.HTTP}, load.Target{Network: "unix", Addr: s.Unix}
			var cfgs []load.Config
			for _, shape := range []load.Shape{load.NewConn(), load.KeepAlive(), load.Think(50 * time.Millisecond), load.SlowPost(10 * time.Millisecond)} {
				cfgs = append(cfgs, load.Config{Target: tcp, Shape: shape, MaxErrors: 100000}) // one worker each, see settle
			}
			cfgs = append(cfgs, load.Config{Target: local, Shape: load.NewConn(), MaxErrors: 100000})
			g, err := load.StartGroup(t.Context(), cfgs...)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := g.AwaitFirstAnswer(t.Context(), time.Time{}); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				for _, executable := range []string{c.our, their} {
					sent := time.Now()
					drains := "tableflip"
					if executable == their {
						drains = "ours"
					}
					g.Mark(sent, drains)
					pid := s.change(executable)
					if _, err := g.AwaitFirstAnswer(t.Context(), sent); err != nil {
						t.Fatal(err)
					}
					s.echoes(pid)
					settle(t, g)
				}
			}
			r := g.Stop()
			s.Stop()
			check(t, r, c.name == "shim")
		})
	}
}

// settle waits until every worker has made a request from beginning to end, and so knows
// if the process that has ended has closed its connection: it learns of it only then.
func settle(t *testing.T, g load.Group) {
	t.Helper()
	for i, r := range g {
		was := r.Snapshot().Requests
		proctest.Until(t, fmt.Sprintf("worker %d goes on", i), func() error {
			if n := r.Snapshot().Requests - was; n < 2 {
				return fmt.Errorf("it has made %d requests", n)
			}
			return nil
		})
	}
}

// check judges the failures by who was draining. The shim drains as the program says,
// and this program says Shutdown, as tableflip's example does.
func check(t *testing.T, r load.Result, shutdown bool) {
	t.Helper()
	shapes := map[string]int{}
	for _, f := range r.Errors {
		shapes[f.Shape]++
	}
	t.Logf("%d requests by %d processes, failures: %v %v", r.Requests, len(r.PIDs), r.Failures, shapes)
	if r.Requests < 1000 || len(r.PIDs) != 41 {
		t.Errorf("%d requests by %d processes: too few to tell", r.Requests, len(r.PIDs))
	}
	if n := r.Failures[load.Refused]; n > 0 {
		t.Errorf("%d connections were refused", n)
	}
	for _, f := range r.Errors {
		drains := ""
		for _, m := range r.Marks {
			if !m.Time.After(f.Time) {
				drains = m.Label
			}
		}
		closed := f.Kind == load.EOF || f.Kind == load.Reset
		if drains == "tableflip" && closed || drains == "ours" && closed && shutdown {
			continue
		}
		t.Errorf("while %q drains: %+v", drains, f)
	}
}
