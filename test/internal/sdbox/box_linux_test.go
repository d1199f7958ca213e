package sdbox

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/test/internal/proctest"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { proctest.Main(m) }

const sleeper = `
[Service]
Type=exec
ExecStartPre=/bin/echo good morning
ExecStart=/bin/sleep 1000
`

func TestABoxIsUpInWellUnderASecond(t *testing.T) {
	start := time.Now()
	b := Start(t, Options{})
	took := time.Since(start)
	t.Logf("up after %v", took)
	if took > 5*time.Second { // a machine that is busy with other tests
		t.Errorf("up after %v", took)
	}
	if out, code := b.Systemctl("is-system-running"); code != 0 {
		t.Errorf("is-system-running: %s", out)
	}
}

func TestTwoBoxesAtATimeAreStrangers(t *testing.T) {
	t.Parallel()
	one := Start(t, Options{Units: map[string]string{"app.service": sleeper}})
	two := Start(t, Options{Units: map[string]string{"app.service": sleeper}})
	one.Do("start", "app.service")
	if state := one.Show("app.service", "ActiveState"); state != "active" {
		t.Errorf("where it was started, it is %s", state)
	}
	if state := two.Show("app.service", "ActiveState"); state != "inactive" {
		t.Errorf("where it was not started, it is %s", state)
	}
	one.WriteFile("/run/note", []byte("one"), 0o644)
	if _, err := os.Stat(two.Path("/run/note")); err == nil {
		t.Error("the boxes share /run")
	}
	one.Close()
	two.Do("start", "app.service")
}

func TestTheMachineSeesNothingOfWhatTheBoxWrites(t *testing.T) {
	t.Parallel()
	b := Start(t, Options{})
	if out, _ := b.Exec("ls", "-A", "/tmp"); strings.TrimSpace(out) != "" {
		t.Errorf("the box sees a /tmp that is not its own: %s", out)
	}
	for _, path := range []string{"/usr/local/bin/sdbox-test", "/tmp/sdbox-test", "/run/sdbox-test", "/etc/sdbox-test"} {
		if out, code := b.Exec("touch", path); code != 0 {
			t.Fatalf("touch in the box: %s", out)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is on the machine too", path)
		}
	}
}

func TestTheTestFindsTheProcessesOfAUnit(t *testing.T) {
	t.Parallel()
	b := Start(t, Options{Units: map[string]string{"app.service": sleeper}})
	b.Do("start", "app.service")
	main := b.MainPID("app.service")
	if pids := b.Processes("app.service"); len(pids) != 1 || pids[0] != main {
		t.Errorf("processes %v, want only the main process %d", pids, main)
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", b.HostPID("app.service")))
	if err != nil || string(name) != "sleep\n" {
		t.Errorf("the process outside is %q (%v), want sleep", name, err)
	}
	if err := unix.Kill(b.HostPID("app.service"), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.Wait("app.service", "Result", "signal")
	if pids := b.Processes("app.service"); len(pids) != 0 {
		t.Errorf("processes %v after the end", pids)
	}
}

func TestTheJournalHasBothSidesOfAUnit(t *testing.T) {
	t.Parallel()
	b := Start(t, Options{Units: map[string]string{"app.service": sleeper}})
	b.Do("start", "app.service")
	proctest.Until(t, "the journal's lines", func() error {
		log := b.Journal("app.service")
		for _, want := range []string{"echo[", "good morning", "systemd[1]: Started"} {
			if !strings.Contains(log, want) {
				return fmt.Errorf("no %q in:\n%s", want, log)
			}
		}
		return nil
	})
}

func TestClosingABoxEndsAllProcessesInItAndLeavesNothing(t *testing.T) {
	t.Parallel()
	b := Start(t, Options{Units: map[string]string{"app.service": sleeper}})
	b.Do("start", "app.service")
	fd, err := unix.PidfdOpen(b.HostPID("app.service"), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	b.Close()
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000); n != 1 {
		t.Errorf("a process of the box lives on (%v)", err)
	}
	if _, err := os.Stat(b.cgroup); !os.IsNotExist(err) {
		t.Errorf("the box's cgroup: %v, want that it is gone", err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), t.Name()) {
		t.Errorf("a mount is left:\n%s", mounts)
	}
}

func TestATestReachesTheBoxsNetworkAndNoOtherDoes(t *testing.T) {
	t.Parallel()
	b := Start(t, Options{Units: map[string]string{
		"echo.socket":   "[Socket]\nListenStream=127.0.0.1:7\nListenStream=/run/echo\nAccept=yes\n[Install]\nWantedBy=sockets.target\n",
		"echo@.service": "[Service]\nExecStart=/bin/cat\nStandardInput=socket\n",
	}})
	b.Do("start", "echo.socket")
	for network, address := range map[string]string{"tcp": "127.0.0.1:7", "unix": "/run/echo"} {
		conn, err := b.DialContext(proctest.Context(t), network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintln(conn, "hello")
		if line, err := bufio.NewReader(conn).ReadString('\n'); line != "hello\n" {
			t.Errorf("%s: %q, %v", network, line, err)
		}
	}
	if conn, err := net.Dial("tcp", "127.0.0.1:7"); err == nil {
		conn.Close()
		t.Error("the box's port is the machine's")
	}
}

func TestAFailedCommandTellsItsExitCodeAndWhy(t *testing.T) {
	t.Parallel()
	b := Start(t, Options{})
	out, code := b.Systemctl("start", "missing.service")
	if code != 5 || !strings.Contains(out, "missing.service not found") {
		t.Errorf("exit code %d, output %q", code, out)
	}
}

func TestAUnitFileThatIsReplacedCountsAfterAReload(t *testing.T) {
	t.Parallel()
	b := Start(t, Options{Units: map[string]string{"app.service": sleeper}})
	b.WriteFile(UnitDir+"/app.service.d/more.conf", []byte("[Unit]\nDescription=Another\n"), 0o644)
	b.Do("daemon-reload")
	if text := b.Show("app.service", "Description"); text != "Another" {
		t.Errorf("the description is %q", text)
	}
}
