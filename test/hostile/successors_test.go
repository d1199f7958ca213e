//go:build linux

package hostile

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

var misdeeds = []string{"never-read", "close", "junk", "truncate", "oversize", "speak-as-the-predecessor", "many", "take-what-was-never-sent"}

// corrupt installs a successor that does a misdeed.
func (s *service) corrupt(act, end string) {
	s.t.Helper()
	s.install(proctest.Build(s.t, proctest.Program{Package: module + "/test/hostile/rogue"}))
	if err := os.WriteFile(filepath.Join(s.dir, "act"), []byte(act+" "+end), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func TestNoSuccessorThatFailsHarmsItsPredecessor(t *testing.T) {
	t.Parallel()
	s := start(t, raced(t, "1"))
	s.corrupt("close", "exit")
	s.fails("exit status 3") // and what a first upgrade opens for good is open
	s.get("/")
	before := descriptors(t, s.main())
	for _, act := range misdeeds {
		s.corrupt(act, "exit")
		s.fails("exit status 3")
		if a, err := s.who(); err != nil || a.pid != s.main() {
			t.Errorf("after %s: %+v, %v", act, a, err)
		}
		proctest.Until(t, "all descriptors are closed", func() error {
			if n := descriptors(t, s.main()); n > before {
				return fmt.Errorf("after %s: %d descriptors are open, %d were", act, n, before)
			}
			return nil
		})
	}
	s.install(raced(t, "2"))
	if a := s.upgrade(); a.version != "2" || a.generation != 2 {
		t.Errorf("got %+v", a)
	}
	s.stop()
}

// halfARequest opens a connection on which a handler waits for the rest, "ob".
func halfARequest(s *service) net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(proctest.Deadline(s.t))
	fmt.Fprint(conn, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nfo")
	b := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	if _, err := io.ReadFull(conn, b); err != nil || !strings.Contains(string(b), "100 Continue") {
		s.t.Fatalf("the answer to half a request is %q, %v", b, err)
	}
	return conn
}

// sendTheRest has the request answered, and closes the connection.
func sendTheRest(t testing.TB, conn net.Conn) {
	t.Helper()
	defer conn.Close()
	conn.SetDeadline(proctest.Deadline(t)) // upgrades, and builds, came since it was set
	fmt.Fprint(conn, "ob")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Error(err)
		return
	}
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "foob" {
		t.Errorf("the rest of the answer is %q, %v", text, err)
	}
}

// Two generations drain, and the newest is told of the older one.
func TestNoSuccessorThatTakesOverHoldsItsPredecessorUp(t *testing.T) {
	t.Parallel()
	for _, act := range misdeeds {
		t.Run(act, func(t *testing.T) {
			t.Parallel()
			s := start(t, raced(t, "1"))
			busy := halfARequest(s)
			old := s.upgrade()
			s.corrupt(act, "stay")
			began := time.Now()
			s.signal(old.pid, unix.SIGHUP)
			a := s.taken(old.pid)
			if a.version != "rogue" {
				t.Errorf("got %+v", a)
			}
			s.known[old.pid].Wait()
			if d := time.Since(began); d > 20*time.Second {
				t.Errorf("the old one ended after %v", d)
			}
			// The oldest has heard of it that its successor is gone, and goes on.
			sendTheRest(t, busy)
			s.known[a.pid].Stop(unix.SIGTERM)
			if err := s.first.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// tomorrow builds the service as it may be one day: with another version of the
// link's protocol, new fields in each message, and after each message one of
// a new kind, with a descriptor.
func tomorrow(t testing.TB) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return proctest.Once(t, "tomorrow's/service", func(out string) ([]byte, error) {
		dir := filepath.Dir(out)
		overlay := map[string]map[string]string{"Replace": {}}
		for file, change := range map[string][2]string{
			"link.go": {"const Version = 1\n", "const Version = 2\n"},
			"conn_unix.go": {"func (c *Conn) Send(wait time.Duration, kind Kind, body any, files ...syscall.Conn) error {\n", `
func (c *Conn) Send(wait time.Duration, kind Kind, body any, files ...syscall.Conn) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	fields := map[string]any{"new": map[string]any{"list": []int{1, 2}}, "Version ": "x"}
	if err := json.Unmarshal(text, &fields); err != nil {
		return err
	}
	if err := c.send(wait, kind, fields, files...); err != nil {
		return err
	}
	return c.send(wait, 999, []string{"news"}, os.Stdin)
}

func (c *Conn) send(wait time.Duration, kind Kind, body any, files ...syscall.Conn) error {
`},
		} {
			path := filepath.Join(root, "handoff/internal/link", file)
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			if strings.Count(string(text), change[0]) != 1 {
				return nil, fmt.Errorf("%s has changed: it has no %q", path, change[0])
			}
			overlay["Replace"][path] = filepath.Join(dir, file)
			if err := os.WriteFile(filepath.Join(dir, file), []byte(strings.Replace(string(text), change[0], change[1], 1)), 0o644); err != nil {
				return nil, err
			}
		}
		text, err := json.Marshal(overlay)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, "overlay"), text, 0o644); err != nil {
			return nil, err
		}
		return exec.Command("go", "build", "-race", "-overlay", filepath.Join(dir, "overlay"), "-ldflags", "-X main.version=tomorrow",
			"-o", out, module+"/test/hostile/service").CombinedOutput()
	})
}

func TestTodaysReleaseAndTomorrowsUpgradeToEachOther(t *testing.T) {
	t.Parallel()
	s := prepare(t, raced(t, "1"))
	s.start(s.command(nil, "-unix", filepath.Join(s.dir, "socket")))
	// It drains all the time, so that its link goes from hand to hand.
	busy := halfARequest(s)
	defer busy.Close()
	for generation := 2; generation <= 5; generation++ {
		want := "1"
		s.install(raced(t, "1"))
		if generation%2 == 0 {
			want = "tomorrow"
			s.install(tomorrow(t))
		}
		if a := s.upgrade(); a.version != want || a.generation != generation {
			t.Errorf("got %+v, want generation %d of version %s", a, generation, want)
		}
	}
	sendTheRest(t, busy)
	out := s.first.Output()
	if strings.Contains(out, "level=WARN") || strings.Contains(out, "level=ERROR") {
		t.Error("something was not understood")
	}
	s.stop()
}

// What version 1 said is kept by the test of package link.
func TestARecordedPredecessorOfVersion1IsUnderstood(t *testing.T) {
	t.Parallel()
	transcript, err := os.ReadFile("../../handoff/internal/link/testdata/hello-v1")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	file, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	// It names a service manager.
	var manager *net.UnixConn
	proctest.Until(t, "the manager's address is free", func() error {
		manager, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: "@notify"})
		return err
	})
	defer manager.Close()
	go hear(manager, nil)
	// And three files.
	r := startRogue(t, []*os.File{file, file, file}, "-http", fmt.Sprintf(":%d", ln.Addr().(*net.TCPAddr).Port))
	r.addr = ln.Addr().String()
	r.send(transcript)
	r.awaitReady()
	r.send(packet(commit, "{}"))
	r.link.Close()
	r.isWell(4) // its predecessor is generation 3
}
