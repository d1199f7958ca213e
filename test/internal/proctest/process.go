package proctest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// ownerVariable marks every process that a test started, and through the environment
// their descendants. Its value names the process that was started. It doesn't begin
// with HANDOFF_, because the library takes such variables out of what it passes on.
const ownerVariable = "PROCTEST_OWNER"

var owners atomic.Int64

// A Process runs on behalf of one test, and ends with it at the latest.
type Process struct {
	Cmd *exec.Cmd

	t       testing.TB
	name    string
	owner   string
	logFile string
	exited  chan struct{}
	err     error // of Cmd.Wait; read after exited is closed
}

// Command returns a command whose Env is the test's own environment, without what a
// service manager may have left in it. Append to it as needed. A race-built child
// ends at once, not after the second that the detector sleeps by default.
func Command(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	for _, pair := range os.Environ() {
		if !managerVariable(pair) {
			cmd.Env = append(cmd.Env, pair)
		}
	}
	cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=0")
	return cmd
}

func managerVariable(pair string) bool {
	for _, prefix := range []string{"LISTEN_", "NOTIFY_SOCKET=", "WATCHDOG_", "MAINPID=", "SYSTEMD_EXEC_PID=", "INVOCATION_ID=", "FDSTORE=", "GORACE="} {
		if strings.HasPrefix(pair, prefix) {
			return true
		}
	}
	return false
}

// Start starts cmd and fails t if that does not succeed. Stdout and stderr that cmd
// leaves nil are captured.
//
// When the test ends the process is killed and reaped if it still runs, and any
// descendant of it that still runs is killed and fails the test: stop those first,
// by their pid (see Adopt).
func Start(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p, err := StartBy(t, cmd, (*exec.Cmd).Start)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// StartBy is Start with another function in place of cmd.Start, whose error it
// returns. After it has succeeded, cmd must be one that can be waited for.
func StartBy(t testing.TB, cmd *exec.Cmd, start func(*exec.Cmd) error) (*Process, error) {
	t.Helper()
	p := &Process{
		Cmd:    cmd,
		t:      t,
		name:   filepath.Base(cmd.Path),
		owner:  fmt.Sprintf("%d.%d", os.Getpid(), owners.Add(1)),
		exited: make(chan struct{}),
	}
	log, err := os.CreateTemp("", "handoff-test-output-")
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	p.logFile = log.Name()
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, ownerVariable+"="+p.owner)
	if cmd.Stdout == nil {
		cmd.Stdout = log
	}
	if cmd.Stderr == nil {
		cmd.Stderr = log
	}
	if err := start(cmd); err != nil {
		os.Remove(p.logFile)
		return nil, err
	}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(p.cleanUp)
	return p, nil
}

// Pid returns the process id.
func (p *Process) Pid() int { return p.Cmd.Process.Pid }

// Exited is closed when the process has ended and is reaped.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Output returns what the process and its descendants have written so far.
func (p *Process) Output() string {
	data, err := os.ReadFile(p.logFile)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// Signal sends a signal, and fails the test when the process is not there any more.
func (p *Process) Signal(sig os.Signal) {
	p.t.Helper()
	if err := p.Cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("signal %v to %s: %v", sig, p, err)
	}
}

// Wait waits for the process to end by itself and returns what Cmd.Wait said: nil
// for exit code 0. At the Deadline it fails the test.
func (p *Process) Wait() error {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.err
	case <-time.After(time.Until(Deadline(p.t))):
		p.t.Fatalf("%s has not ended", p)
		return nil
	}
}

// Stop asks the process to end by sig and waits for it, as Wait does. A process that
// has already ended is as good.
func (p *Process) Stop(sig os.Signal) error {
	p.t.Helper()
	if err := p.Cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("signal %v to %s: %v", sig, p, err)
	}
	return p.Wait()
}

// Until is the function Until for a condition that this process is to bring about:
// it ends early when the process has ended.
func (p *Process) Until(what string, ok func() error) {
	p.t.Helper()
	ended := false
	Until(p.t, what, func() error {
		err := ok()
		if err == nil || !ended {
			select {
			case <-p.exited:
				ended = true // one more look: it may have been the last thing it did
			default:
			}
			return err
		}
		p.t.Fatalf("%s ended (%v) before %s: %v", p, p.err, what, err)
		return nil
	})
}

func (p *Process) String() string {
	return fmt.Sprintf("%s (pid %d)", p.name, p.Pid())
}

// tail cuts off the beginning of an output that nobody reads to the end.
func tail(output string) string {
	const most = 128 << 10
	if len(output) <= most {
		return output
	}
	output = output[len(output)-most:]
	return "… " + output[strings.IndexByte(output, '\n')+1:]
}

func (p *Process) cleanUp() {
	select {
	case <-p.exited:
	default:
		p.Cmd.Process.Kill()
		<-p.exited
	}
	for _, survivor := range endOwned(p.owner) {
		p.t.Errorf("process %s, a descendant of %s, outlived the test and was killed", survivor, p)
	}
	if p.t.Failed() {
		p.t.Logf("output of %s, which ended with %v:\n%s", p, p.err, tail(p.Output()))
	}
	os.Remove(p.logFile)
}
