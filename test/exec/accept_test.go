//go:build linux

package exec

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// script is a program for one connection, which it has as descriptor 3.
const script = `echo "pid $$"; env | grep -E "^(LISTEN|REMOTE|NOTIFY|HANDOFF)" | sort; `

func TestEachConnectionHasAProgramOfItsOwn(t *testing.T) {
	t.Parallel()
	addr, path := address(t), folder(t)+"/s"
	cmd := handoff(t, "exec", "--accept", "-l", addr, "-l", "ctl="+path, "--", "sh", "-c", "exec >&3; "+script)
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET=/none")
	p := proctest.Start(t, cmd)
	for range 2 {
		conn := dial(t, p, "tcp", addr)
		got := lines(t, conn)
		pid, _ := strings.CutPrefix(got[0], "pid ")
		if n, err := strconv.Atoi(pid); err != nil || n == p.Pid() {
			t.Errorf("the program's pid is %q", pid)
		}
		port := strconv.Itoa(conn.LocalAddr().(*net.TCPAddr).Port)
		wantLines(t, "environment", got[1:], "LISTEN_FDNAMES=connection", "LISTEN_FDS=1", "LISTEN_PID="+pid, "REMOTE_ADDR=127.0.0.1", "REMOTE_PORT="+port)
		p.Until("it says that the program has ended", func() error {
			if !strings.Contains(p.Output(), "process "+pid+" ended: exit status 0") {
				return errors.New(p.Output())
			}
			return nil
		})
	}
	got := lines(t, dial(t, p, "unix", path))
	if len(got) != 4 || got[1] != "LISTEN_FDNAMES=ctl" {
		t.Errorf("by the unix socket: %q, want the name ctl, and no REMOTE_ variables", got)
	}
	// A client with an address has it told.
	named := path + ".client"
	conn, err := net.DialUnix("unix", &net.UnixAddr{Name: named, Net: "unix"}, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := lines(t, conn); !slices.Contains(got, "REMOTE_ADDR="+named) {
		t.Errorf("by a named unix socket: %q", got)
	}
	if err := p.Stop(syscall.SIGTERM); err != nil {
		t.Errorf("it has ended with %v", err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket's file is still there")
	}
}

func TestAnIPv4ClientOfAnIPv6SocketIsOneOfIPv4(t *testing.T) {
	t.Parallel()
	port := strconv.Itoa(proctest.FreePort(t))
	p := proctest.Start(t, handoff(t, "exec", "-a", "--inetd", "-l", port, "--", "sh", "-c", script))
	if got := lines(t, dial(t, p, "tcp", "127.0.0.1:"+port)); !slices.Contains(got, "REMOTE_ADDR=127.0.0.1") || slices.ContainsFunc(got, func(l string) bool { return strings.HasPrefix(l, "LISTEN") }) {
		t.Errorf("the program's environment: %q", got)
	}
	if conn, err := net.Dial("tcp", "[::1]:"+port); err == nil {
		if got := lines(t, conn); !slices.Contains(got, "REMOTE_ADDR=::1") {
			t.Errorf("by IPv6: %q", got)
		}
		conn.Close()
	}
	p.Stop(syscall.SIGTERM)
}

func TestInetdServesByStandardInputAndOutput(t *testing.T) {
	t.Parallel()
	addr := address(t)
	p := proctest.Start(t, handoff(t, "exec", "-q", "--accept", "--inetd", "-l", addr, "cat"))
	conn := dial(t, p, "tcp", addr)
	fmt.Fprint(conn, "hello\n")
	conn.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "hello\n" {
		t.Errorf("the echo is %q, %v", got, err)
	}
	p.Stop(syscall.SIGTERM)
	if out := p.Output(); out != "" {
		t.Errorf("for all of --quiet it says %q", out)
	}
}

func TestAProgramOfAConnectionHasThatAlone(t *testing.T) {
	t.Parallel()
	for _, flags := range []string{"", "--no-pid", "--inetd"} {
		addr := address(t)
		args := append(strings.Fields("exec -a -l "+addr+" -l 127.0.0.1:0 "+flags), "--", "sh", "-c", "exec sleep 1000")
		cmd := handoff(t, args...)
		stray, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer stray.Close()
		cmd.ExtraFiles = []*os.File{stray, stray}
		p := proctest.Start(t, cmd)
		dial(t, p, "tcp", addr)
		pid := startedBy(t, p, 1)[0]
		p.Until("the program", func() error {
			if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); string(comm) != "sleep\n" {
				return fmt.Errorf("it is %q", comm)
			}
			if environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); len(environ) == 0 {
				return errors.Join(err, errors.New("it has no environment yet"))
			}
			return nil
		})
		sockets, want := 1, []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=connection"}
		switch flags {
		case "--inetd":
			sockets, want = 0, nil
		case "":
			want = append(want, fmt.Sprintf("LISTEN_PID=%d", pid))
		}
		wantSockets(t, p, pid, 3, sockets)
		wantLines(t, "environment with "+flags, environment(t, pid, "LISTEN_", "HANDOFF_"), want...)
		p.Stop(syscall.SIGTERM)
	}
}

// startedBy waits for n programs and returns their pids.
func startedBy(t *testing.T, p *proctest.Process, n int) (pids []int) {
	t.Helper()
	p.Until(fmt.Sprintf("%d programs", n), func() error {
		pids = nil
		for line := range strings.Lines(p.Output()) {
			var pid int
			if _, rest, ok := strings.Cut(line, ": started process "); ok {
				fmt.Sscan(rest, &pid)
				pids = append(pids, pid)
			}
		}
		if len(pids) != n {
			return fmt.Errorf("there are %d: %s", len(pids), p.Output())
		}
		return nil
	})
	return pids
}

func TestACrashOfOneHarmsNoOther(t *testing.T) {
	t.Parallel()
	addr := address(t)
	p := proctest.Start(t, handoff(t, "exec", "--accept", "--inetd", "-l", addr, "--", "sh", "-c", `read word; if [ "$word" = crash ]; then kill -SEGV $$; fi; echo "$word"`))
	first := dial(t, p, "tcp", addr)
	for range 3 {
		crash := dial(t, p, "tcp", addr)
		fmt.Fprintln(crash, "crash")
		if got, _ := io.ReadAll(crash); len(got) != 0 {
			t.Errorf("the crashed one says %q", got)
		}
	}
	fmt.Fprintln(first, "hello")
	if got := lines(t, first); !slices.Equal(got, []string{"hello"}) {
		t.Errorf("the other one says %q", got)
	}
	p.Until("all four are reaped", func() error {
		if out := p.Output(); strings.Count(out, "ended: signal: segmentation fault") != 3 || strings.Count(out, "ended: exit status 0") != 1 {
			return errors.New(out)
		}
		return nil
	})
	if left := childrenOf(t, p.Pid()); len(left) != 0 {
		t.Errorf("children are left: %q", left)
	}
	p.Stop(syscall.SIGTERM)
}

// childrenOf sees those that nobody has waited for, too.
func childrenOf(t *testing.T, pid int) []string {
	t.Helper()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, task := range tasks {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		all = append(all, strings.Fields(string(text))...)
	}
	return all
}

func TestNoMoreThanTheMostRunAndTheOthersWait(t *testing.T) {
	t.Parallel()
	addr := address(t)
	p := proctest.Start(t, handoff(t, "exec", "--accept", "--inetd", "--max-connections=2", "-l", addr, "cat"))
	var conns []net.Conn
	for range 5 {
		conns = append(conns, dial(t, p, "tcp", addr))
	}
	startedBy(t, p, 2)
	for i, conn := range conns {
		if n := len(childrenOf(t, p.Pid())); n > 2 {
			t.Errorf("%d programs run", n)
		}
		fmt.Fprintln(conn, i)
		conn.(*net.TCPConn).CloseWrite()
		if got := lines(t, conn); !slices.Equal(got, []string{strconv.Itoa(i)}) {
			t.Errorf("connection %d: %q", i, got)
		}
	}
	startedBy(t, p, 5)
	p.Stop(syscall.SIGTERM)
}

func TestSIGTERMEndsTheListeningAndWaitsForThePrograms(t *testing.T) {
	t.Parallel()
	addr := address(t)
	p := proctest.Start(t, handoff(t, "exec", "--accept", "--inetd", "-l", addr, "--", "sh", "-c", `trap "echo told" TERM; echo ready; until [ "$word" = hello ]; do read word; done; echo "$word"`))
	conn := dial(t, p, "tcp", addr)
	text := make([]byte, 6)
	if _, err := io.ReadFull(conn, text); err != nil || string(text) != "ready\n" {
		t.Fatalf("%q, %v", text, err)
	}
	p.Signal(syscall.SIGTERM)
	p.Until("nobody listens", func() error {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return errors.New("somebody does")
		}
		return nil
	})
	fmt.Fprintln(conn, "hello")
	if got := lines(t, conn); !slices.Contains(got, "hello") || !slices.Contains(got, "told") {
		t.Errorf("the program says %q", got)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("it has ended with %v", err)
	}
}

func TestASecondSIGTERMKillsThePrograms(t *testing.T) {
	t.Parallel()
	addr := address(t)
	p := proctest.Start(t, handoff(t, "exec", "--accept", "--inetd", "-l", addr, "--", "sh", "-c", `trap "" TERM; echo ready; exec sleep 1000`))
	conn := dial(t, p, "tcp", addr)
	text := make([]byte, 6)
	if _, err := io.ReadFull(conn, text); err != nil || string(text) != "ready\n" {
		t.Fatalf("%q, %v", text, err)
	}
	p.Signal(syscall.SIGTERM)
	p.Until("it says that it waits", func() error {
		if !strings.Contains(p.Output(), "waiting for 1 process\n") {
			return errors.New(p.Output())
		}
		return nil
	})
	p.Signal(syscall.SIGTERM)
	if err := p.Wait(); err != nil {
		t.Errorf("it has ended with %v", err)
	}
	if !strings.Contains(p.Output(), "ended: signal: killed") {
		t.Errorf("it says %q", p.Output())
	}
}

// What systemd-socket-activate does too.
func TestProgramsAreToldWhenTheListenerIsKilled(t *testing.T) {
	t.Parallel()
	addr := address(t)
	p := proctest.Start(t, handoff(t, "exec", "--accept", "--inetd", "-l", addr, "--", "sh", "-c", `trap "echo told; exit" TERM; echo ready; while :; do sleep 0.01; done`))
	conn := dial(t, p, "tcp", addr)
	text := make([]byte, 6)
	if _, err := io.ReadFull(conn, text); err != nil {
		t.Fatal(err)
	}
	p.Stop(syscall.SIGKILL)
	// Linux sends it again for each thread of the listener's that the program passes to.
	if got := lines(t, conn); !slices.Contains(got, "told") {
		t.Errorf("the program says %q", got)
	}
}

func TestAProgramThatIsGoneCostsAConnectionAndNoMore(t *testing.T) {
	t.Parallel()
	dir, addr := folder(t), address(t)
	program := dir + "/program"
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(cat, program); err != nil {
		t.Fatal(err)
	}
	p := proctest.Start(t, handoff(t, "exec", "--accept", "--inetd", "-l", addr, program))
	echo := func(want string) {
		t.Helper()
		conn := dial(t, p, "tcp", addr)
		fmt.Fprint(conn, "hello\n")
		conn.(*net.TCPConn).CloseWrite()
		if got, _ := io.ReadAll(conn); string(got) != want {
			t.Errorf("the echo is %q, want %q", got, want)
		}
	}
	echo("hello\n")
	os.Rename(program, program+".away")
	echo("")
	os.Rename(program+".away", program)
	echo("hello\n")
	p.Stop(syscall.SIGTERM)
}

func TestWhatDoesNotListenCanNotBeAcceptedFrom(t *testing.T) {
	t.Parallel()
	cmd := handoff(t, "exec", "--accept", "-l", "x=fd::0", "cat")
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 125 || !strings.Contains(string(out), `socket 0 "x": it is no socket`) {
		t.Errorf("exit code %d, %s", code, out)
	}
}
