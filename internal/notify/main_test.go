//go:build unix

package notify_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/notify"
)

// The test binary plays the other processes: childEnv says which.
const childEnv = "HANDOFF_NOTIFY_TEST_CHILD"

var children = map[string]func() error{
	// notify sends READY=1 and waits until it is processed.
	"notify": func() error {
		n, err := handoff.OpenNotifier()
		if err != nil {
			return err
		}
		if err := n.Notify(handoff.Ready, handoff.MainPID(os.Getpid())); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		return n.Barrier(ctx)
	},
	// parent has a child send it.
	"parent": func() error {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"=notify")
		return cmd.Run()
	},
	// wait does nothing until its input ends.
	"wait": func() error {
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	},
	// crowded receives with hardly a descriptor to spare, and tells what and
	// how many more are open afterwards.
	"crowded": func() error {
		r, err := notify.Listen()
		if err != nil {
			return err
		}
		r.KeepStored = true
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 40, Max: 40}); err != nil {
			return err
		}
		before := countFDs()
		fmt.Println(r.Address())
		for range 2 {
			m, err := r.Receive()
			if err != nil {
				return err
			}
			fmt.Printf("fault %t, ready %t, files %d, leaked %d\n", m.Fault != nil, m.Ready(), len(m.Files), countFDs()-before)
		}
		return nil
	},
}

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		child, ok := children[name]
		if !ok {
			fmt.Fprintln(os.Stderr, "no such child:", name)
			os.Exit(2)
		}
		if err := child(); err != nil {
			fmt.Fprintln(os.Stderr, name+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// countFDs counts the open descriptors below 1024.
func countFDs() int {
	count := 0
	for fd := range 1024 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			count++
		}
	}
	return count
}

// A process is a started command; its input stays open until the test ends.
type process struct {
	*exec.Cmd
	stdout *bufio.Reader
	stderr *strings.Builder
}

func start(t *testing.T, cmd *exec.Cmd, env ...string) *process {
	t.Helper()
	p := &process{Cmd: cmd, stderr: &strings.Builder{}}
	cmd.Env = append(os.Environ(), append(env, "GORACE=atexit_sleep_ms=0")...)
	cmd.Stderr = p.stderr
	cmd.WaitDelay = 10 * time.Second
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewReader(stdout)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// A child that hangs ends with its test.
	timer := time.AfterFunc(40*time.Second, func() { cmd.Process.Kill() })
	t.Cleanup(func() {
		stdin.Close()
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
		timer.Stop()
	})
	return p
}

// child starts the test binary as the named child.
func child(t *testing.T, name string, r *notify.Receiver) *process {
	t.Helper()
	env := []string{childEnv + "=" + name}
	if r != nil {
		env = append(env, "NOTIFY_SOCKET="+r.Address())
	}
	return start(t, exec.Command(os.Args[0]), env...)
}

func (p *process) finish(t *testing.T) {
	t.Helper()
	if err := p.Wait(); err != nil {
		t.Fatalf("%v: %v: %s", p.Args, err, p.stderr)
	}
}

func listen(t *testing.T) *notify.Receiver {
	t.Helper()
	r, err := notify.Listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	r.SetReadDeadline(time.Now().Add(30 * time.Second))
	return r
}

func receive(t *testing.T, r *notify.Receiver) notify.Message {
	t.Helper()
	m, err := r.Receive()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// receiveAll keeps asking, which answers barriers, until r is closed.
func receiveAll(r *notify.Receiver) <-chan []notify.Message {
	got := make(chan []notify.Message, 1)
	go func() {
		var all []notify.Message
		for {
			m, err := r.Receive()
			if err != nil {
				got <- all
				return
			}
			all = append(all, m)
		}
	}()
	return got
}
