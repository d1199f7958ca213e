//go:build linux

package packaging

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// container is what a runtime makes of an image FROM scratch with a volume: a root with
// nothing but the files of the recipe, a /proc and a pid namespace of its own, where
// the holder is PID 1.
type container struct {
	root, addr string
	p          *proctest.Process
	init       int // the holder's pid out here
}

// startContainer starts /handoff run, of an image that has no other file, with a program on the volume /srv/app.
func startContainer(t *testing.T, handoff string) *container {
	t.Helper()
	c := newContainer(t, t.TempDir())
	c.copy(t, handoff, "handoff")
	c.deploy(t, "1")
	c.start(t, "/handoff", "run", "-l", "http="+c.addr, "--probation", "100ms", "--", "/srv/app/server", "-probation", "-1s")
	c.untilVersion(t, "1")
	return c
}

// newContainer makes a container's root of an image's.
func newContainer(t *testing.T, root string) *container {
	t.Helper()
	if os.Getuid() != 0 {
		proctest.Missing(t, "a pid namespace wants root")
	}
	c := &container{root: root, addr: fmt.Sprintf("127.0.0.1:%d", proctest.FreePort(t))}
	for _, dir := range []string{"proc", "dev", "srv/app"} {
		if err := os.MkdirAll(filepath.Join(c.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mknod(filepath.Join(c.root, "dev/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		proctest.Missing(t, "a device file wants more rights than this root has (%v)", err)
	}
	return c
}

// start starts PID 1. An answer tells that it handles signals: before, it has none that PID 1 minds.
func (c *container) start(t *testing.T, command ...string) {
	t.Helper()
	unshare := proctest.RequireTool(t, "unshare")
	c.p = proctest.Start(t, proctest.Command(unshare, append([]string{
		"--pid", "--fork", "--kill-child=KILL", "--mount", "--root=" + c.root, "--mount-proc", "--"}, command...)...))
	c.p.Until("the holder to be there", func() error {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", c.p.Pid()))
		if err != nil {
			return err
		}
		_, err = fmt.Sscan(string(data), &c.init)
		return err
	})
}

// deploy puts that version of the program on the volume, by a rename.
func (c *container) deploy(t *testing.T, version string) {
	t.Helper()
	server := goBuild(t, "server "+version, []string{"CGO_ENABLED=0"},
		[]string{"-ldflags", "-X main.version=" + version, "./examples/graceful"})
	c.copy(t, server, "srv/app/server.new")
	if err := os.Rename(filepath.Join(c.root, "srv/app/server.new"), filepath.Join(c.root, "srv/app/server")); err != nil {
		t.Fatal(err)
	}
}

func (c *container) copy(t *testing.T, from, to string) {
	t.Helper()
	output(t, exec.Command("cp", from, filepath.Join(c.root, to)))
}

func (c *container) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(c.init, sig); err != nil {
		t.Fatal(err)
	}
}

func (c *container) untilVersion(t *testing.T, want string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	c.p.Until("version "+want+" to answer", func() error {
		resp, err := client.Get("http://" + c.addr + "/")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && !strings.Contains(string(body), "version="+want+"\n") {
			err = fmt.Errorf("the answer is %q", body)
		}
		return err
	})
}

func TestPID1OfAScratchImageSwapsTheProgramOnAVolume(t *testing.T) {
	t.Parallel()
	c := startContainer(t, binary(t, "small"))
	c.swapsAndStops(t)
}

func (c *container) swapsAndStops(t *testing.T) {
	t.Helper()
	if pids := namespacePIDs(t, c.init); pids[len(pids)-1] != "1" {
		t.Fatalf("the holder has the pids %v, want 1 as the innermost", pids)
	}
	for _, version := range []string{"2", "3"} {
		c.deploy(t, version)
		c.signal(t, syscall.SIGHUP)
		c.untilVersion(t, version)
	}
	if !strings.Contains(c.p.Output(), "generation") {
		t.Errorf("the holder tells nothing of its swaps:\n%s", c.p.Output())
	}
	c.stops(t)
}

// stops is docker stop, and the end of a pod.
func (c *container) stops(t *testing.T) {
	t.Helper()
	c.signal(t, syscall.SIGTERM)
	if err := c.p.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v\n%s", err, c.p.Output())
	}
	if err := syscall.Kill(c.init, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the holder is still there: %v", err)
	}
	if conn, err := net.Dial("tcp", c.addr); err == nil {
		conn.Close()
		t.Error("something still listens")
	}
}

func TestABadVersionOnTheVolumeChangesNothing(t *testing.T) {
	t.Parallel()
	c := startContainer(t, binary(t, "small"))
	bad := filepath.Join(c.root, "srv/app/server.new")
	if err := os.WriteFile(bad, []byte("half of a downl"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(bad, filepath.Join(c.root, "srv/app/server")); err != nil {
		t.Fatal(err)
	}
	c.signal(t, syscall.SIGHUP)
	c.p.Until("the failure to be told", func() error {
		if !strings.Contains(c.p.Output(), "the upgrade has failed, and nothing has changed") {
			return errors.New(c.p.Output())
		}
		return nil
	})
	c.untilVersion(t, "1")
	c.stops(t)
}

// namespacePIDs are the process's in each pid namespace that has it, the innermost at last.
func namespacePIDs(t *testing.T, pid int) []string {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "NSpid:"); ok {
			return strings.Fields(rest)
		}
	}
	t.Fatalf("no NSpid in\n%s", status)
	return nil
}
