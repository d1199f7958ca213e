//go:build linux

package handoff_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/needed"
)

// newUpgrader makes this process a generation that is ready and whose successor
// is a shell with a script. It listens to no signals.
func newUpgrader(t *testing.T, script string, opts handoff.Options) (*handoff.Upgrader, net.Listener) {
	t.Helper()
	opts.UpgradeSignals, opts.StopSignals = []os.Signal{}, []os.Signal{}
	if opts.Command == "" {
		opts.Command, opts.Args = "/bin/sh", []string{"sh", "-c", script}
	}
	if opts.Probation == 0 {
		opts.Probation = -1
	}
	up, err := handoff.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { up.Close() })
	ln, err := up.Listen("http", "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return up, ln
}

func requireSystemdNotify(t *testing.T) {
	t.Helper()
	needed.Tool(t, "systemd-notify") // by which a shell says that it is ready
}

func TestUpgradeSaysHowFarItCameAndWhy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, script, phase string
		opts                handoff.Options
		notify              bool
		check               func(*testing.T, *handoff.UpgradeError)
	}{
		{
			name: "AFileThatIsNotThere", phase: "start",
			opts: handoff.Options{Command: "/nonexistent/app"},
			check: func(t *testing.T, e *handoff.UpgradeError) {
				var path *fs.PathError
				if !errors.Is(e, fs.ErrNotExist) || !errors.As(e, &path) || path.Path != "/nonexistent/app" {
					t.Errorf("the cause is %v", e.Err)
				}
			},
		},
		{
			name: "AnExit", phase: "ready", script: "exit 5",
			check: func(t *testing.T, e *handoff.UpgradeError) {
				var exit *exec.ExitError
				if !errors.As(e, &exit) || exit.ExitCode() != 5 || e.PID == 0 {
					t.Errorf("pid %d, the cause is %v", e.PID, e.Err)
				}
			},
		},
		{
			name: "AnExitWithStatus0", phase: "ready", script: "exit 0",
			check: func(t *testing.T, e *handoff.UpgradeError) {
				if !errors.Is(e, handoff.ErrExited) {
					t.Errorf("the cause is %v", e.Err)
				}
			},
		},
		{
			name: "ASignal", phase: "ready", script: "kill -KILL $$",
			check: func(t *testing.T, e *handoff.UpgradeError) {
				var exit *exec.ExitError
				if !errors.As(e, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
					t.Errorf("the cause is %v", e.Err)
				}
			},
		},
		{
			name: "ATimeout", phase: "ready", script: "exec sleep 60",
			opts: handoff.Options{ReadyTimeout: 50 * time.Millisecond},
			check: func(t *testing.T, e *handoff.UpgradeError) {
				if !errors.Is(e, handoff.ErrTimeout) {
					t.Errorf("the cause is %v", e.Err)
				}
			},
		},
		{
			name: "ItsLastWords", phase: "ready", notify: true,
			script: "systemd-notify --status='no database' ERRNO=111; exit 1",
			check: func(t *testing.T, e *handoff.UpgradeError) {
				if e.Status != "no database" || e.Errno != syscall.ECONNREFUSED {
					t.Errorf("status %q, errno %v", e.Status, e.Errno)
				}
				if !strings.Contains(e.Error(), "no database") {
					t.Errorf("the text is %q", e)
				}
			},
		},
		{
			name: "AnExitInProbation", phase: "probation", notify: true,
			script: "systemd-notify --ready; exit 5",
			opts:   handoff.Options{Probation: time.Minute},
			check: func(t *testing.T, e *handoff.UpgradeError) {
				var exit *exec.ExitError
				if !errors.As(e, &exit) || exit.ExitCode() != 5 {
					t.Errorf("the cause is %v", e.Err)
				}
			},
		},
		{
			name: "AFailedHealthCheck", phase: "probation", notify: true,
			script: "systemd-notify --ready; exec sleep 60",
			opts:   handoff.Options{HealthCheck: func(context.Context) error { return errUnwell }},
			check: func(t *testing.T, e *handoff.UpgradeError) {
				if !errors.Is(e, errUnwell) {
					t.Errorf("the cause is %v", e.Err)
				}
			},
		},
		{
			name: "APIDFileThatCanNotBeWritten", phase: "probation", notify: true,
			script: "systemd-notify --ready; exec sleep 60",
			opts:   handoff.Options{PIDFile: "gone/pid"},
			check: func(t *testing.T, e *handoff.UpgradeError) {
				if !errors.Is(e, fs.ErrNotExist) {
					t.Errorf("the cause is %v", e.Err)
				}
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.notify {
				requireSystemdNotify(t)
			}
			if c.opts.PIDFile != "" {
				c.opts.PIDFile = filepath.Join(t.TempDir(), c.opts.PIDFile)
				if err := os.Mkdir(filepath.Dir(c.opts.PIDFile), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			up, ln := newUpgrader(t, c.script, c.opts)
			if err := up.Ready(); err != nil {
				t.Fatal(err)
			}
			if c.opts.PIDFile != "" {
				if err := os.RemoveAll(filepath.Dir(c.opts.PIDFile)); err != nil {
					t.Fatal(err)
				}
			}
			err := up.Upgrade(t.Context())
			var e *handoff.UpgradeError
			if !errors.As(err, &e) {
				t.Fatalf("Upgrade returned %v", err)
			}
			if e.Phase != c.phase {
				t.Errorf("phase %q, not %q: %v", e.Phase, c.phase, e)
			}
			c.check(t, e)
			mustAccept(t, ln)
		})
	}
}

var errUnwell = errors.New("unwell")

// mustAccept fails the test unless a connection to ln is accepted here.
func mustAccept(t *testing.T, ln net.Listener) {
	t.Helper()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := ln.Accept()
	if err != nil {
		t.Fatalf("the old generation accepts no more: %v", err)
	}
	conn.Close()
}

func TestEachStateInWhichThereIsNoUpgradeHasItsError(t *testing.T) {
	t.Parallel()
	requireSystemdNotify(t)
	gate, pidFile := filepath.Join(t.TempDir(), "fifo"), filepath.Join(t.TempDir(), "pid")
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	// The successor is ready when somebody writes to the FIFO.
	up, ln := newUpgrader(t, "read x <"+gate+"; systemd-notify --ready; exec sleep 60", handoff.Options{PIDFile: pidFile})
	if err := up.Upgrade(t.Context()); !errors.Is(err, handoff.ErrNotReady) {
		t.Errorf("before Ready: %v", err)
	}
	if err := up.Ready(); err != nil {
		t.Fatal(err)
	}
	first := make(chan error, 1)
	go func() { first <- up.Upgrade(t.Context()) }()
	writer, err := os.OpenFile(gate, os.O_WRONLY, 0) // returns when the successor reads
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if err := up.Upgrade(t.Context()); !errors.Is(err, handoff.ErrUpgradeInProgress) {
		t.Errorf("during an upgrade: %v", err)
	}
	if _, err := writer.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	if err := <-first; err != nil {
		t.Fatalf("the upgrade itself: %v", err)
	}
	<-up.Draining()
	if err := up.Upgrade(t.Context()); !errors.Is(err, handoff.ErrHandedOver) {
		t.Errorf("after it: %v", err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after the hand-over: %v", err)
	}
	if _, err := up.Listen("late", "tcp", "127.0.0.1:0"); !errors.Is(err, handoff.ErrHandedOver) {
		t.Errorf("Listen after the hand-over: %v", err)
	}
	// The successor holds the socket: a client is let in and waits.
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Errorf("after the hand-over nobody listens: %v", err)
	} else {
		client.Close()
	}
	if text, err := os.ReadFile(pidFile); err != nil {
		t.Error(err)
	} else if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || pid == os.Getpid() {
		t.Errorf("after the hand-over the PID file says %q", text)
	} else if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}

	stopped, _ := newUpgrader(t, "", handoff.Options{})
	if err := stopped.Ready(); err != nil {
		t.Fatal(err)
	}
	stopped.Stop()
	<-stopped.Draining()
	if err := stopped.Upgrade(t.Context()); !errors.Is(err, handoff.ErrStopping) {
		t.Errorf("after Stop: %v", err)
	}
}

func TestTheEndOfItsContextGivesAnUpgradeUp(t *testing.T) {
	t.Parallel()
	up, ln := newUpgrader(t, "exec sleep 60", handoff.Options{})
	if err := up.Ready(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := up.Upgrade(ctx)
	var e *handoff.UpgradeError
	if !errors.As(err, &e) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Upgrade returned %v", err)
	}
	mustAccept(t, ln)
}

func TestAReadyOfAStrangerDoesNotCount(t *testing.T) {
	t.Parallel()
	requireSystemdNotify(t)
	dir := t.TempDir()
	address := filepath.Join(dir, "address")
	up, ln := newUpgrader(t, "echo $NOTIFY_SOCKET >"+address+".new; mv "+address+".new "+address+"; exec sleep 60",
		handoff.Options{ReadyTimeout: time.Second})
	if err := up.Ready(); err != nil {
		t.Fatal(err)
	}
	outcome := make(chan error, 1)
	go func() { outcome <- up.Upgrade(t.Context()) }()
	var text []byte
	for deadline := time.Now().Add(10 * time.Second); len(text) == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		text, _ = os.ReadFile(address)
	}
	// A child of this process, but not of the successor.
	cmd := exec.Command("systemd-notify", "--ready")
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+strings.TrimSpace(string(text)))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("systemd-notify: %v: %s", err, out)
	}
	if err := <-outcome; !errors.Is(err, handoff.ErrTimeout) {
		t.Errorf("Upgrade returned %v", err)
	}
	mustAccept(t, ln)
}
