//go:build linux

package run

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

// handoffCommand has the race detector when the tests have it.
func handoffCommand(t testing.TB) string { return buildHandoff(t, raceEnabled) }

func buildHandoff(t testing.TB, race bool) string {
	return proctest.Build(t, proctest.Program{Package: "github.com/handoff-dev/handoff/cmd/handoff", Race: race})
}

func testProgram(t testing.TB) string {
	return proctest.Build(t, proctest.Program{Package: "github.com/handoff-dev/handoff/test/run/program"})
}

// holder is a "handoff run" under test.
type holder struct {
	*proctest.Process
	t    *testing.T
	addr string // of its socket, at 127.0.0.1
	mode string // the file that the test's own program reads
	gens int    // how many there have been
}

// command is "handoff run" with flags, a socket, and what follows.
func command(t *testing.T, flags []string, program ...string) (*exec.Cmd, string) {
	addr := "127.0.0.1:" + strconv.Itoa(proctest.FreePort(t))
	args := append([]string{"run", "-l", "http=" + addr}, flags...)
	cmd := proctest.Command(handoffCommand(t), append(append(args, "--"), program...)...)
	cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR="+runtimeDir(t), "RUNTIME_DIRECTORY=")
	return cmd, addr
}

// runtimeDir has a name that is short enough for a unix socket.
func runtimeDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "run")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// hold starts a holder of any program, and waits until that serves.
func hold(t *testing.T, flags []string, program ...string) *holder {
	t.Helper()
	cmd, addr := command(t, flags, program...)
	h := start(t, cmd, addr)
	h.saying("serves")
	return h
}

func start(t *testing.T, cmd *exec.Cmd, addr string) *holder {
	t.Helper()
	return &holder{Process: proctest.Start(t, cmd), t: t, addr: addr, gens: 1}
}

// ours is a command for the test's own program, in a mode.
func ours(t *testing.T, mode string, flags ...string) (*exec.Cmd, string, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mode")
	write(t, file, mode)
	cmd, addr := command(t, append([]string{"--probation", "50ms"}, flags...), testProgram(t), "-mode", file)
	return cmd, addr, file
}

// holdOurs starts a holder of the test's own program, and waits until that serves.
func holdOurs(t *testing.T, mode string, flags ...string) *holder {
	t.Helper()
	cmd, addr, file := ours(t, mode, flags...)
	h := start(t, cmd, addr)
	h.mode = file
	h.saying("serves")
	return h
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// saying waits for a line of the holder's.
func (h *holder) saying(text string) {
	h.t.Helper()
	h.Until(fmt.Sprintf("the line %q", text), func() error {
		if !strings.Contains(h.Output(), text) {
			return fmt.Errorf("it is not there yet")
		}
		return nil
	})
}

// upgrade replaces the program, and waits for that.
func (h *holder) upgrade() {
	h.t.Helper()
	h.gens++
	h.Signal(syscall.SIGHUP)
	h.saying(fmt.Sprintf("handoff: generation %d serves, after", h.gens))
}

// failingUpgrade is upgrade, but it fails.
func (h *holder) failingUpgrade() {
	h.t.Helper()
	failed := strings.Count(h.Output(), "the upgrade has failed")
	h.gens++
	h.Signal(syscall.SIGHUP)
	h.Until("the upgrade to fail", func() error {
		if strings.Count(h.Output(), "the upgrade has failed") == failed {
			return fmt.Errorf("it has not")
		}
		return nil
	})
}

// fresh is a client that keeps no connection.
var fresh = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}

// get asks for a path over a new connection.
func (h *holder) get(path string) string {
	h.t.Helper()
	text, err := h.ask(path)
	if err != nil {
		h.t.Fatal(err)
	}
	return text
}

func (h *holder) ask(path string) (string, error) {
	res, err := fresh.Get("http://" + h.addr + path)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return string(body), err
}

// answers waits until the answer for path has text in it.
func (h *holder) answers(path, text string) {
	h.t.Helper()
	h.Until(fmt.Sprintf("the answer %q", text), func() error {
		got, err := h.ask(path)
		if err == nil && !strings.Contains(got, text) {
			err = fmt.Errorf("it is %q", got)
		}
		return err
	})
}

func (h *holder) pid() int {
	h.t.Helper()
	pid, err := strconv.Atoi(h.get("/pid"))
	if err != nil {
		h.t.Fatal(err)
	}
	return pid
}

// begin sends the first part of a request, and waits until the program has it. finish sends the rest,
// and fails the test unless there is an answer.
func (h *holder) begin() (finish func()) {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(proctest.Deadline(h.t))
	answer := bufio.NewReader(conn)
	fmt.Fprint(conn, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
	for _, want := range []string{"HTTP/1.1 100 Continue\r\n", "\r\n"} {
		if line, err := answer.ReadString('\n'); err != nil || line != want {
			h.t.Fatalf("the answer begins with %q, %v, want %q", line, err, want)
		}
	}
	return func() {
		h.t.Helper()
		fmt.Fprint(conn, "hello")
		res, err := http.ReadResponse(answer, nil)
		if err != nil {
			h.t.Fatalf("the request that was on its way: %v", err)
		}
		if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK || string(body) != "hello" {
			h.t.Errorf("the request that was on its way: %s, %q, %v", res.Status, body, err)
		}
	}
}

// end stops the holder, which exits with code.
func (h *holder) end(code int) {
	h.t.Helper()
	h.Stop(syscall.SIGTERM)
	h.exits(code)
}

// exits waits for the holder's end, with code.
func (h *holder) exits(code int) {
	h.t.Helper()
	h.Wait()
	if got := h.Cmd.ProcessState.ExitCode(); got != code {
		h.t.Errorf("the holder has ended with %d, want %d", got, code)
	}
	if conn, err := net.Dial("tcp", h.addr); err == nil {
		conn.Close()
		h.t.Errorf("somebody still listens at %s", h.addr)
	}
}

// load puts load on the holder's socket until the test stops it.
func (h *holder) load(shapes ...load.Shape) load.Group {
	h.t.Helper()
	var configs []load.Config
	for _, shape := range shapes {
		configs = append(configs, load.Config{Target: load.Target{Addr: h.addr}, Shape: shape, Workers: 4, Rate: 200})
	}
	g, err := load.StartGroup(h.t.Context(), configs...)
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := g.AwaitFirstAnswer(proctest.Context(h.t), time.Time{}); err != nil {
		h.t.Fatal(err)
	}
	return g
}

// lossless fails the test for what was lost.
func lossless(t *testing.T, r load.Result) {
	t.Helper()
	if r.Failed > 0 || r.OK == 0 {
		t.Errorf("%d of %d requests have failed: %v", r.Failed, r.Requests, r.Failures)
		for _, f := range r.Errors[:min(len(r.Errors), 5)] {
			t.Log(f.Kind, f.PID, f.Error)
		}
	}
	t.Logf("%d requests, %d failed, answered by %d processes", r.Requests, r.Failed, len(r.PIDs))
}
