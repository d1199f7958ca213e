//go:build linux

package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// result is how a command has ended.
type result struct {
	stdout, stderr string
	code           int
}

// handoffIn runs the command in a directory.
func handoffIn(t *testing.T, dir string, args ...string) (r result) {
	t.Helper()
	cmd := proctest.Command(proctest.Build(t, proctest.Program{Package: "github.com/handoff-dev/handoff/cmd/handoff"}), args...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

func (s *service) handoff(args ...string) result {
	s.T.Helper()
	r := handoffIn(s.T.(*testing.T), s.Dir, args...)
	if pid, err := s.ReadPID(); err == nil {
		s.Adopt(pid)
	}
	return r
}

func TestTheUpgradeCommandWaitsForTheCommit(t *testing.T) {
	t.Parallel()
	s := start(t)
	for i, flags := range [][]string{
		{"--socket", s.socket},
		{"--pid", fmt.Sprint(s.Main())},
		nil, // the one service of this directory
	} {
		if flags != nil && flags[0] == "--pid" {
			flags[1] = fmt.Sprint(s.Main())
		}
		s.Install(graceful.Build(t, fmt.Sprint(1+i%2)))
		r := s.handoff(append([]string{"upgrade", "--wait"}, flags...)...)
		want := fmt.Sprintf("upgraded to generation %d (pid %d)", i+2, s.Main())
		if r.code != 0 || !strings.HasPrefix(r.stdout, want) || r.stderr != "" {
			t.Errorf("%v: %+v, want %s", flags, r, want)
		}
	}
	r := s.handoff("upgrade", "--json")
	var a handoff.UpgradeAnswer
	if err := json.Unmarshal([]byte(r.stdout), &a); err != nil || r.code != 0 || a.Outcome != "committed" || a.PID != s.Main() || a.Upgrade == nil {
		t.Errorf("--json: %+v (%v)", r, err)
	}
	if r := s.handoff("upgrade", "--wait=false"); r.code != 0 || r.stdout != "the upgrade has begun\n" {
		t.Errorf("--wait=false: %+v", r)
	}
	s.AwaitSuccessor(a.PID)
	s.Stop()
}

func TestAFailedUpgradeCommandSaysWhyAndThatTheOldGenerationServes(t *testing.T) {
	t.Parallel()
	s := start(t, "-preflight")
	s.Install(graceful.Faulty(t, "start"))
	r := s.handoff("upgrade")
	for _, part := range []string{"error: the upgrade failed (ready): exit status 3\n", "  | faulty: failing at the start\n", fmt.Sprintf("generation 1 (pid %d) still serves\n", s.Main())} {
		if r.code != 1 || r.stdout != "" || !strings.Contains(r.stderr, part) {
			t.Errorf("%+v, without %q", r, part)
		}
	}
	s.Install(graceful.Faulty(t, "check"))
	for _, args := range [][]string{{"upgrade"}, {"upgrade", "--check"}} {
		if r := s.handoff(args...); r.code != 1 || !strings.Contains(r.stderr, "  | faulty: the configuration is wrong\n") {
			t.Errorf("%v: %+v", args, r)
		}
	}
	s.Install(graceful.Faulty(t, "hang"))
	if r := s.handoff("upgrade", "--timeout", "300ms"); r.code != 4 || !strings.Contains(r.stderr, "generation 1 (pid") {
		t.Errorf("--timeout: %+v", r)
	}
	s.Install(graceful.Build(t, "2"))
	if r := s.handoff("upgrade", "--check"); r.code != 0 || r.stdout != "the new version passes the service's check\n" {
		t.Errorf("--check: %+v", r)
	}
	if v := s.Version(); v != "1" {
		t.Errorf("version %s serves", v)
	}
	s.Stop()
}

func TestCommandsForNoServiceExitWithThree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ended := proctest.Start(t, proctest.Command("/bin/true"))
	ended.Wait()
	idle := proctest.Start(t, proctest.Command("/bin/sleep", "60"))
	for _, flags := range [][]string{
		{"--socket", dir + "/none"},
		{"--pid", fmt.Sprint(ended.Pid())},
		{"--pid", fmt.Sprint(idle.Pid())}, // SIGHUP would kill it
	} {
		for _, command := range []string{"upgrade", "status"} {
			if r := handoffIn(t, dir, append([]string{command}, flags...)...); r.code != 3 || !strings.HasPrefix(r.stderr, "error: ") {
				t.Errorf("%s %v: %+v", command, flags, r)
			}
		}
	}
	select {
	case <-idle.Exited():
		t.Error("the process was killed")
	default:
	}
	for _, args := range [][]string{{"upgrade", "--pid", "1", "--socket", "x"}, {"upgrade", "x"}, {"status", "--user"}, {"upgrade", "--timeout", "-1s"}, {"upgrade", "--check", "--wait=false"}, {"status", "--watch", "--socket", "x"}} {
		if r := handoffIn(t, dir, args...); r.code != 2 {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

func TestAServiceWithoutAControlSocketIsUpgradedBySignalAndWatched(t *testing.T) {
	t.Parallel()
	s := prepare(t)
	s.Run(proctest.Command(s.Path, s.Flags()...))
	old := s.Main()
	long, err := s.KeepAlive()
	if err != nil {
		t.Fatal(err)
	}
	defer long.Close()
	r := s.handoff("upgrade", "--pid", fmt.Sprint(old))
	if now := s.Main(); r.code != 0 || now == old || !strings.HasPrefix(r.stdout, fmt.Sprintf("upgraded to process %d", now)) {
		t.Errorf("%+v; the main process is %d, was %d", r, now, old)
	}
	for _, how := range []string{"before-ready", "start"} {
		s.Install(graceful.Faulty(t, how))
		main := s.Main()
		if r := s.handoff("upgrade", "--pid", fmt.Sprint(main)); r.code != 1 || !strings.Contains(r.stderr, fmt.Sprintf("process %d still serves", main)) {
			t.Errorf("%s: %+v", how, r)
		}
		proctest.Until(t, "the failure is over", func() error {
			if err := syscall.Kill(main, 0); err != nil {
				return err
			}
			return nil
		})
	}
	if r := s.handoff("upgrade", "--check", "--pid", fmt.Sprint(s.Main())); r.code != 1 || !strings.Contains(r.stderr, "its check command is unknown") {
		t.Errorf("--check: %+v", r)
	}
	s.Install(graceful.Faulty(t, "hang"))
	if r := s.handoff("upgrade", "--timeout", "200ms", "--pid", fmt.Sprint(s.Main())); r.code != 4 || !strings.Contains(r.stderr, "not known") {
		t.Errorf("a hanging successor: %+v", r)
	}
	if r := s.handoff("status", "--pid", fmt.Sprint(s.Main())); r.code != 3 || !strings.Contains(r.stderr, "has no control socket") {
		t.Errorf("status: %+v", r)
	}
	s.Stop()
}

func TestTheStatusCommandShowsWhatTheServiceDoes(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.Install(graceful.Faulty(t, "start"))
	s.handoff("upgrade")
	s.Install(graceful.Build(t, "2"))
	s.handoff("upgrade")
	r := s.handoff("status")
	for _, part := range []string{
		fmt.Sprintf("generation 2  serving  pid %d  2  up ", s.Main()),
		"runs as it is on disk\n", "http      tcp " + s.HTTP, "udp       udp " + s.UDP,
		"  1 to 2  committed in ", "  1 to 2  failed (ready), ", ": exit status 3\n",
	} {
		if r.code != 0 || !strings.Contains(r.stdout, part) {
			t.Errorf("%+v, without %q", r, part)
		}
	}
	for line := range strings.Lines(r.stdout) {
		if strings.ContainsFunc(line[:len(line)-1], func(c rune) bool { return c < ' ' }) {
			t.Errorf("line %q", line)
		}
	}
	var st handoff.ServiceStatus
	if r := s.handoff("status", "--json"); json.Unmarshal([]byte(r.stdout), &st) != nil || st.Generation != 2 {
		t.Errorf("--json: %+v", r)
	}
	s.Stop()
}

// A command whose connection breaks tells what it can find out.
func TestAnUpgradeWhoseOldGenerationIsKilledEndsWithTheTruth(t *testing.T) {
	t.Parallel()
	s := start(t, "-ready-delay", "500ms", "-probation", "2s")
	old := s.Main()
	done := make(chan result, 1)
	go func() { done <- handoffIn(t, s.Dir, "upgrade") }()
	next := 0
	proctest.Until(t, "the probation", func() error {
		st, err := s.tryStatus()
		if err != nil || st.Successor == nil || st.Successor.Step != "probation" {
			return fmt.Errorf("%+v %v", st.Successor, err)
		}
		next = st.Successor.PID
		return nil
	})
	s.Adopt(next)
	s.Signal(old, syscall.SIGKILL)
	r := <-done
	if r.code != 0 || !strings.Contains(r.stdout, fmt.Sprintf("generation 2 (pid %d)", next)) {
		t.Errorf("%+v", r)
	}
	<-s.First.Exited()
	s.Signal(s.AwaitSuccessor(old), syscall.SIGTERM)
	s.Generation(next).Wait()
}

func TestTheWatchFollowsAJSONLineASecond(t *testing.T) {
	t.Parallel()
	s := start(t)
	out, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	cmd := proctest.Command(proctest.Build(t, proctest.Program{Package: "github.com/handoff-dev/handoff/cmd/handoff"}), "status", "--watch", "--json", "--socket", s.socket)
	cmd.Stdout = out
	p := proctest.Start(t, cmd)
	began := time.Now()
	p.Until("three lines", func() error {
		text, err := os.ReadFile(out.Name())
		if n := bytes.Count(text, []byte("\n")); n < 3 {
			return errors.Join(err, fmt.Errorf("there are %d", n))
		}
		return nil
	})
	if took := time.Since(began); took < 1500*time.Millisecond {
		t.Errorf("three lines after %v", took)
	}
	p.Stop(syscall.SIGTERM)
	s.Stop()
}
