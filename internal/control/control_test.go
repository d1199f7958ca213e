//go:build linux

package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/testenv"
)

// clientVariable has the test binary be a client of the socket that it names.
const clientVariable = "CONTROL_TEST_CLIENT"

func TestMain(m *testing.M) {
	if path := os.Getenv(clientVariable); path != "" {
		os.Exit(beClient(path))
	}
	testenv.Settle()
	os.Exit(m.Run())
}

// beClient exits with 0 if it is answered.
func beClient(path string) int {
	c, err := net.Dial("unix", path)
	if err != nil {
		fmt.Println(err)
		return 2
	}
	fmt.Fprint(c, "GET /v1/status HTTP/1.0\r\n\r\n")
	if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// idle is a service that does nothing.
type idle struct{}

func (idle) Status() any                       { return "fine" }
func (idle) Upgrade(UpgradeRequest) (int, any) { return 200, "done" }
func (idle) Stop() (int, any)                  { return 202, "stopping" }
func (idle) Fault(code, message string) any {
	return map[string]string{"code": code, "message": message}
}

// serve serves a socket until the test ends.
func serve(t *testing.T, group int, rule Rule) (path string, feed *Feed, s *Server) {
	t.Helper()
	dir, err := os.MkdirTemp("", "control-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "s")
	ln, err := Listen(context.Background(), path, group)
	if err != nil {
		t.Fatal(err)
	}
	feed = &Feed{}
	s = NewServer(idle{}, feed, slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(ln, rule) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.Shutdown(ctx)
		ln.Close()
		<-done
	})
	return path, feed, s
}

func TestOnlyTheRulesUsersAndGroupAreAnswered(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("to be another user one has to be root")
		}
		t.Skip("to be another user one has to be root")
	}
	dir, err := os.MkdirTemp("/var/tmp", "control-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	self := filepath.Join(dir, "client")
	if out, err := exec.Command("cp", os.Args[0], self).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	if err := os.Chmod(self, 0o755); err != nil { // whatever the mask of who built it
		t.Fatal(err)
	}
	const user, group = 4711, 4712
	for _, test := range []struct {
		name string
		as   syscall.Credential
		rule Rule
		want int
	}{
		{"root", syscall.Credential{}, Rule{UID: user, GID: -1}, 0},
		{"the user", syscall.Credential{Uid: user, Gid: 1}, Rule{UID: user, GID: -1}, 0},
		{"another user", syscall.Credential{Uid: 65534, Gid: user}, Rule{UID: user, GID: -1}, 1},
		{"a user of the group", syscall.Credential{Uid: 65534, Gid: group}, Rule{UID: user, GID: group}, 0},
		{"a user with the group", syscall.Credential{Uid: 65534, Gid: 1, Groups: []uint32{7, group}}, Rule{UID: user, GID: group}, 0},
		{"a user of other groups", syscall.Credential{Uid: 65534, Gid: 1, Groups: manyGroups(300)}, Rule{UID: user, GID: group}, 1},
		{"a user of many groups", syscall.Credential{Uid: 65534, Gid: 1, Groups: append(manyGroups(300), group)}, Rule{UID: user, GID: group}, 0},
		{"a group that is not asked for", syscall.Credential{Uid: 65534, Gid: group}, Rule{UID: user, GID: -1}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			path, _, _ := serve(t, -1, test.rule)
			if err := os.Chmod(path, 0o666); err != nil { // the mode is not what is tested
				t.Fatal(err)
			}
			cmd := exec.Command(self)
			cmd.Env = []string{clientVariable + "=" + path, "GORACE=atexit_sleep_ms=0"}
			cmd.Dir = "/"
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &test.as}
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != test.want {
				t.Errorf("exit code %d, want %d: %s", code, test.want, out)
			}
		})
	}
}

func manyGroups(n uint32) (all []uint32) {
	for g := range n {
		all = append(all, 10000+g)
	}
	return all
}

func TestTheSocketIsItsUsersOrTheGroups(t *testing.T) {
	t.Parallel()
	path, _, _ := serve(t, -1, Rule{GID: -1})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mode is %v (%v)", info.Mode(), err)
	}
	path, _, _ = serve(t, os.Getegid(), Rule{GID: -1})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("with a group the mode is %v (%v)", info.Mode(), err)
	}
}

func TestADirectoryInWhichOthersCouldReplaceTheSocketIsRefused(t *testing.T) {
	t.Parallel()
	for mode, want := range map[os.FileMode]bool{0o700: true, 0o755: true, 0o775: true, 0o777: false, 0o757: false, 0o777 | os.ModeSticky: true} {
		dir := t.TempDir()
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if err := CheckDirectory(dir + "/s"); (err == nil) != want {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	if os.Geteuid() == 0 {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o775); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, 0, 4711); err != nil {
			t.Fatal(err)
		}
		if err := CheckDirectory(dir + "/s"); err == nil {
			t.Error("a directory that another group may write to is taken")
		}
		if err := os.Chown(dir, 4711, os.Getegid()); err != nil {
			t.Fatal(err)
		}
		if err := CheckDirectory(dir + "/s"); err == nil {
			t.Error("another user's directory is taken")
		}
	}
	if err := CheckDirectory("/nonexistent/s"); err == nil {
		t.Error("a directory that does not exist is taken")
	}
}

func TestAFollowerThatIsTooFarBehindIsLetGoAndOthersAreNot(t *testing.T) {
	t.Parallel()
	var f Feed
	slow, _ := f.Subscribe()
	quick, done := f.Subscribe()
	defer done()
	for i := range 3 * behind {
		f.Publish(i)
		if v, ok := <-quick; !ok || v != i {
			t.Fatalf("event %d is %v (%v)", i, v, ok)
		}
	}
	n := 0
	for range slow {
		n++
	}
	if n != behind {
		t.Errorf("the slow one has got %d", n)
	}
	f.Close()
	if _, ok := <-quick; ok {
		t.Error("the feed goes on after Close")
	}
	late, _ := f.Subscribe()
	if _, ok := <-late; ok {
		t.Error("a closed feed can be followed")
	}
}

func TestRequestsThatAreWrongAreAnsweredSo(t *testing.T) {
	t.Parallel()
	path, _, _ := serve(t, -1, Rule{UID: os.Geteuid(), GID: -1})
	client := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }}}
	t.Cleanup(client.CloseIdleConnections)
	for _, test := range []struct {
		method, path, body string
		want               int
		code               string
	}{
		{"GET", "/", "", 404, "not_found"},
		{"GET", "/v1/upgrade", "", 404, "not_found"},
		{"GET", "/metrics", "", 404, "not_found"},
		{"POST", "/v1/upgrade", "[", 400, "bad_request"},
		{"POST", "/v1/upgrade", "[]", 400, "bad_request"},
		{"POST", "/v1/upgrade", `{"timeout_ms":-1}`, 400, "bad_request"},
		{"POST", "/v1/upgrade", strings.Repeat(" ", maxBody+1), 400, "bad_request"},
		{"POST", "/v1/upgrade", `{"what":"ever"}`, 200, ""},
		{"POST", "/v1/stop", "", 202, ""},
	} {
		req, err := http.NewRequest(test.method, "http://x"+test.path, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		var fault struct{ Code string }
		json.Unmarshal(text, &fault)
		if resp.StatusCode != test.want || fault.Code != test.code {
			t.Errorf("%s %s %.20q: %d %s", test.method, test.path, test.body, resp.StatusCode, text)
		}
	}
}

func TestAfterLeavingStreamsEndAndOldConnectionsAreSentAway(t *testing.T) {
	t.Parallel()
	path, feed, s := serve(t, -1, Rule{UID: os.Geteuid(), GID: -1})
	follower, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer follower.Close()
	fmt.Fprint(follower, "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
	events, err := http.ReadResponse(bufio.NewReader(follower), nil)
	if err != nil {
		t.Fatal(err)
	}
	old, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	fmt.Fprint(old, "GET /v1/status HTTP/1.1\r\n") // accepted, and in the midst of it
	inside := func() int {
		s.door.mu.Lock()
		defer s.door.mu.Unlock()
		return len(s.door.inside)
	}
	for end := time.Now().Add(10 * time.Second); inside() != 2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d are inside", inside())
		}
	}
	feed.Publish("last")
	feed.Close()
	s.Leave()
	fmt.Fprint(old, "Host: x\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(old), nil)
	if err != nil || resp.StatusCode != 503 || !resp.Close {
		t.Errorf("the old connection: %+v (%v)", resp, err)
	}
	if text, err := io.ReadAll(events.Body); err != nil || string(text) != "\"last\"\n" {
		t.Errorf("the stream: %q (%v)", text, err)
	}
}

func TestAProcessTellsWhereItsSocketIs(t *testing.T) {
	if _, err := Find(os.Getpid()); err != ErrNone {
		t.Fatalf("before: %v", err)
	}
	m, err := Mark("/some/where")
	if err != nil {
		t.Fatal(err)
	}
	if path, err := Find(os.Getpid()); path != "/some/where" || err != nil {
		t.Errorf("%q, %v", path, err)
	}
	found := false
	for _, f := range List() {
		found = found || f.PID == os.Getpid() && f.Socket == "/some/where"
	}
	if !found {
		t.Errorf("this process is not among %v", List())
	}
	m.Close()
	if _, err := Find(os.Getpid()); err != ErrNone {
		t.Errorf("after: %v", err)
	}
}

func TestWatchersTakeNoPlaceOfACommand(t *testing.T) {
	t.Parallel()
	path, _, _ := serve(t, -1, Rule{UID: os.Geteuid(), GID: -1})
	ask := func(request string) *http.Response {
		t.Helper()
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(c, request)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%q: %v", request, err)
		}
		return resp
	}
	for range maxWatchers {
		if resp := ask("GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n"); resp.StatusCode != 200 {
			t.Fatalf("a watcher: %s", resp.Status)
		}
	}
	// More than there are places for anybody, all of them still connected.
	for range maxConns {
		resp := ask("GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
		if text, _ := io.ReadAll(resp.Body); resp.StatusCode != 503 || !bytes.Contains(text, []byte("busy")) {
			t.Fatalf("one watcher too many: %s %s", resp.Status, text)
		}
	}
	for _, accept := range []string{"", "Accept: " + streamType + "\r\n"} {
		for _, body := range []string{"", `{"check": true}`} {
			resp := ask(fmt.Sprintf("POST /v1/upgrade HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n%s", len(body), accept, body))
			if text, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(text) != "\"done\"\n" {
				t.Errorf("upgrade %s %s: %s %q", accept, body, resp.Status, text)
			}
		}
	}
}
