//go:build linux

package run

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/internal/notify"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestClientsWaitWhileACrashedProgramIsStartedAgain(t *testing.T) {
	t.Parallel()
	h := holdOurs(t, "notify")
	old := h.pid()
	g := h.load(load.LateFirstByte(0)) // a connection a request
	// Killed while connections come in all the time: what it has accepted is lost, what
	// waits in the queue is not.
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.saying("starting it again in")
	h.Until("another process", func() error {
		pid, err := h.ask("/pid")
		if err == nil && pid == strconv.Itoa(old) {
			err = fmt.Errorf("the killed one answers")
		}
		return err
	})
	r := g.Stop()
	if n := r.Failures[load.Refused] + r.Failures[load.Connect] + r.Failures[load.Timeout]; n > 0 {
		t.Errorf("%d clients found nobody: %v", n, r.Failures)
	}
	if r.Failed > 8 { // as many as there are workers, at most, were with the killed process
		t.Errorf("%d of %d requests have failed: %v", r.Failed, r.Requests, r.Failures)
	}
	h.end(0)
}

func TestTheWaitsBetweenRestartsGrow(t *testing.T) {
	t.Parallel()
	h := holdOurs(t, "notify")
	write(t, h.mode, "die")
	h.ask("/crash")
	h.saying("has ended: exit status 7")
	began := time.Now()
	h.Until("four restarts", func() error {
		if n := strings.Count(h.Output(), "starting it again"); n < 5 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	if d := time.Since(began); d < 700*time.Millisecond { // three quarters of 100+200+400+800, less some
		t.Errorf("four restarts took %v", d)
	}
	write(t, h.mode, "notify")
	h.Signal(syscall.SIGHUP) // need not wait
	h.saying("generation 2 serves, after")
	h.pid()
	h.end(0)
}

func TestAHolderEndsWithTheProgramsStatus(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		flags   []string
		program []string
		code    int
		says    string
	}{
		"clean exit":         {nil, []string{"true"}, 0, ""},
		"first start fails":  {nil, []string{"sh", "-c", "echo no config >&2; exit 9"}, 9, "error: generation 1 (pid "},
		"its stderr is told": {nil, []string{"sh", "-c", "echo no config >&2; exit 9"}, 9, "| no config"},
		"killed":             {nil, []string{"sh", "-c", "kill -KILL $$"}, 128 + 9, "signal SIGKILL"},
		"never again":        {[]string{"--restart", "never", "--ready", "after=10ms"}, []string{"sh", "-c", "sleep 0.3; exit 4"}, 4, "exit status 4"},
		"missing":            {nil, []string{"/no/such/program"}, 127, "error: start: "},
		"not in PATH":        {nil, []string{"no-such-program"}, 127, "executable file not found"},
		"not executable":     {nil, []string{"/etc/passwd"}, 126, "permission denied"},
		"not ready":          {[]string{"--ready", "notify", "--ready-timeout", "300ms"}, []string{"sleep", "100"}, 125, "was not ready in time"},
		"always":             {[]string{"--restart", "always", "--backoff", "10ms"}, []string{"false"}, -1, ""},
		"always, clean exit": {[]string{"--restart", "always", "--backoff", "10ms"}, []string{"true"}, -1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd, addr := command(t, c.flags, c.program...)
			h := start(t, cmd, addr)
			if c.code < 0 {
				h.Until("three starts", func() error {
					if n := strings.Count(h.Output(), "starting it again"); n < 3 {
						return fmt.Errorf("%d", n)
					}
					return nil
				})
				h.Stop(syscall.SIGTERM)
				return
			}
			h.exits(c.code)
			if !strings.Contains(h.Output(), c.says) {
				t.Errorf("the output has no %q", c.says)
			}
		})
	}
}

func TestAHolderThatCanNotHaveItsSocketsSaysSo(t *testing.T) {
	t.Parallel()
	ln := listen(t)
	for _, c := range []struct{ listen, ready, says string }{
		{ln.Addr().String(), "auto", "address already in use\nhint: another process has the address"},
		{"udp::127.0.0.1:0", "http=/", "error: to be asked by HTTP the program needs a stream socket of TCP or unix\n"},
	} {
		p := proctest.Start(t, proctest.Command(handoffCommand(t), "run", "-l", c.listen, "--ready", c.ready, "--", "true"))
		p.Wait()
		if code := p.Cmd.ProcessState.ExitCode(); code != 125 || !strings.Contains(p.Output(), c.says) {
			t.Errorf("-l %s: %d, %q", c.listen, code, p.Output())
		}
	}
}

func TestASignalIsPassedOnToTheProgram(t *testing.T) {
	t.Parallel()
	h := holdOurs(t, "notify")
	for i, sig := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGWINCH, 40} {
		h.Signal(sig)
		h.Until("the signal", func() error {
			if got := strings.Fields(h.get("/signals")); len(got) != i+1 || got[i] != strconv.Itoa(int(sig)) {
				return fmt.Errorf("signals so far: %q", got)
			}
			return nil
		})
	}
	h.end(0)
}

func TestSigtermStopsTheProgramInItsOwnTime(t *testing.T) {
	t.Parallel()
	h := holdOurs(t, "notify", "--workers", "2")
	h.Until("both to serve", func() error {
		if n := strings.Count(h.Output(), ") serves"); n < 2 {
			return fmt.Errorf("%d do", n)
		}
		return nil
	})
	h.end(0)
	if strings.Count(h.Output(), "has ended: exit status 0") != 2 {
		t.Error("not both have ended by themselves")
	}
}

func TestASecondInterruptKills(t *testing.T) {
	t.Parallel()
	h := holdOurs(t, "notify deaf")
	h.Signal(syscall.SIGINT)
	h.saying("SIGINT: stopping")
	h.Signal(syscall.SIGINT)
	h.exits(128 + int(syscall.SIGKILL))
}

// As PID 1 the holder has the orphans of all that runs there.
func TestAsPID1TheHolderReapsOrphansAndStopsOnSigterm(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		proctest.Missing(t, "only root can make a pid namespace without more ado")
	}
	unshare := proctest.RequireTool(t, "unshare")
	cmd, addr, file := ours(t, "notify")
	cmd.Args = append([]string{unshare, "--pid", "--fork", "--kill-child", "--mount-proc", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = unshare
	h := start(t, cmd, addr)
	h.mode = file
	h.saying("serves")
	inside := child(t, h.Pid())
	for range 5 {
		h.get("/orphan")
	}
	if err := syscall.Kill(inside, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	h.saying("generation 2 serves, after")
	h.Until("the orphans to be reaped", func() error {
		out, err := exec.Command("nsenter", "-t", strconv.Itoa(inside), "-p", "-m", "sh", "-c", "cat /proc/[0-9]*/stat").Output()
		if err != nil {
			return err
		}
		if n := strings.Count(string(out), ") Z "); n > 0 {
			return fmt.Errorf("there are %d zombies", n)
		}
		return nil
	})
	if err := syscall.Kill(inside, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	h.exits(0)
}

// child is the only child of pid.
func child(t *testing.T, pid int) int {
	t.Helper()
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	for _, path := range all {
		data, _ := os.ReadFile(path)
		if n, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil {
			return n
		}
	}
	t.Fatalf("process %d has no child", pid)
	return 0
}

func TestOrphansAreReapedByAHolderThatIsNotPID1(t *testing.T) {
	t.Parallel()
	h := holdOurs(t, "notify")
	pid, err := strconv.Atoi(strings.TrimSpace(h.get("/orphan")))
	if err != nil {
		t.Fatal(err)
	}
	h.Until("the orphan to be reaped", func() error {
		if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
			return fmt.Errorf("signal 0: %v", err)
		}
		return nil
	})
	h.end(0)
}

// manager collects what a service manager is told.
func manager(t *testing.T) (*notify.Receiver, func(h *holder, want string)) {
	t.Helper()
	r, err := notify.Listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	var all []string
	return r, func(h *holder, want string) {
		t.Helper()
		r.SetReadDeadline(time.Now().Add(20 * time.Second))
		for {
			m, err := r.Receive()
			if err != nil {
				t.Fatalf("waited in vain for %q: %v; told so far: %q", want, err, all)
			}
			if m.PID != h.Pid() {
				t.Errorf("%q was told by process %d, and not by the holder", m.Lines, m.PID)
			}
			text := strings.Join(m.Lines, " ")
			all = append(all, text)
			if strings.Contains(text, want) {
				return
			}
		}
	}
}

func TestTheServiceManagerHearsOfTheServiceFromTheHolderAlone(t *testing.T) {
	t.Parallel()
	r, told := manager(t)
	cmd, addr, file := ours(t, "notify")
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+r.Address())
	h := start(t, cmd, addr)
	h.mode = file
	told(h, "READY=1 STATUS=pid ")
	pid := h.pid()
	h.get("/notify?state=STATUS=busy")
	told(h, "STATUS=busy")
	h.get("/notify?state=X_APP=1")
	told(h, "X_APP=1")
	h.get("/notify?state=EXTEND_TIMEOUT_USEC=5")
	told(h, "EXTEND_TIMEOUT_USEC=5")
	h.get("/notify?state=RELOADING=1") // by itself
	told(h, "RELOADING=1")
	h.get("/notify?state=READY=1")
	told(h, "READY=1")

	h.Signal(syscall.SIGHUP)
	h.gens++
	told(h, "RELOADING=1")
	told(h, "READY=1 STATUS=pid ")
	if h.pid() == pid {
		h.saying("has ended")
	}

	write(t, h.mode, "die")
	h.failingUpgrade()
	told(h, "RELOADING=1")
	told(h, "READY=1 STATUS=Serving; the upgrade to generation 3 has failed")
	h.Signal(syscall.SIGTERM)
	told(h, "STOPPING=1")
	h.exits(0)
}

func TestTheWatchdogHearsTheProgramsAndNothingWhenOneIsSilent(t *testing.T) {
	t.Parallel()
	r, told := manager(t)
	cmd, addr, file := ours(t, "watchdog")
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+r.Address(), "WATCHDOG_USEC=200000")
	h := start(t, cmd, addr)
	h.mode = file
	told(h, "READY=1")
	for range 3 {
		told(h, "WATCHDOG=1")
	}
	write(t, h.mode, "notify") // does not ping
	h.upgrade()
	h.saying("asking generation 1")
	h.Until("the old copy to end", func() error { return h.copies(1) })
	told(h, "READY=1")
	r.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	pings := 0
	for {
		m, err := r.Receive()
		if err != nil {
			break
		}
		if _, is := m.Get("WATCHDOG"); is {
			pings++
		}
	}
	if pings > 1 {
		t.Errorf("%d pings for a program that does not ping", pings)
	}
	// While no copy is there to do it, the holder keeps the manager quiet.
	write(t, h.mode, "die")
	h.ask("/crash")
	for range 2 {
		told(h, "WATCHDOG=1")
	}
	h.Stop(syscall.SIGTERM)
}

func TestAHolderTakesTheSocketsThatItWasGiven(t *testing.T) {
	t.Parallel()
	cmd, _, file := ours(t, "notify")
	args := []string{cmd.Args[0], "run"}
	for i, arg := range cmd.Args { // without -l
		if arg == "--probation" {
			args = append(args, cmd.Args[i:]...)
		}
	}
	cmd.Args = args
	ln := listen(t)
	p, err := proctest.StartBy(t, cmd, func(cmd *exec.Cmd) error { return handoff.Export(cmd, handoff.File{Name: "web", Conn: ln}) })
	if err != nil {
		t.Fatal(err)
	}
	h := &holder{Process: p, t: t, addr: ln.Addr().String(), mode: file, gens: 1}
	ln.Close()
	h.saying("serves")
	env := h.get("/env")
	if strings.Contains(env, "LISTEN_") {
		t.Errorf("the program has not taken its variables out: %s", env)
	}
	h.upgrade()
	h.pid()
	h.end(0)
}

func TestOtherHoldersVariablesAreSetWhereAskedFor(t *testing.T) {
	t.Parallel()
	h := holdOurs(t, "notify", "--compat", "server-starter,einhorn")
	env := h.get("/env")
	for _, want := range []string{"SERVER_STARTER_PORT=" + h.addr + "=3\n", "EINHORN_FDS=3\n", "EINHORN_FD_COUNT=1\n",
		fmt.Sprintf("EINHORN_MASTER_PID=%d\n", h.Pid())} {
		if !strings.Contains(env, want) {
			t.Errorf("the environment has no %q", want)
		}
	}
	h.end(0)
	h = holdOurs(t, "notify")
	if env := h.get("/env"); strings.Contains(env, "EINHORN") || strings.Contains(env, "SERVER_STARTER") {
		t.Error("they are set unasked")
	}
	h.end(0)
}

// A program on this library can upgrade itself too; then another process is the copy.
func TestAProgramThatUpgradesItselfStaysTheCopy(t *testing.T) {
	t.Parallel()
	program := proctest.Build(t, proctest.Program{Package: "github.com/handoff-dev/handoff/examples/graceful"})
	h := hold(t, []string{"--probation", "50ms"}, program, "-probation", "50ms", "-drain", "1s")
	first := h.processOf("/")
	if err := syscall.Kill(first, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	h.saying("the main process is")
	h.Until("the first process to end", func() error { return h.copies(1) })
	if h.processOf("/") == first {
		t.Error("the first process still answers")
	}
	h.upgrade()
	h.Until("one copy", func() error { return h.copies(1) })
	h.end(0)
}

// processOf is which process answers a request for path.
func (h *holder) processOf(path string) int {
	h.t.Helper()
	res, err := fresh.Get("http://" + h.addr + path)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	pid, err := strconv.Atoi(res.Header.Get("X-Pid"))
	if err != nil {
		h.t.Fatal(err)
	}
	return pid
}
