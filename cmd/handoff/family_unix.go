//go:build unix && !small

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// How long the demo's generations have to end of their own accord: at the
// demo's end, and when it breaks off.
const (
	familyEndTimeout  = demoDrainTimeout + 5*time.Second
	familyHurry       = 2 * time.Second
	familyKillTimeout = 5 * time.Second
)

// family is the demo's server in all its generations. They are descendants of
// this process, and share pipes with it: the end of file on their standard
// output says that none is left.
type family struct {
	root  *os.Process   // the first generation
	alive *os.File      // their standard input: closed when this process ends
	gone  chan struct{} // closed when no process has their standard output

	mu     sync.Mutex
	born   map[int]birth
	news   chan struct{} // closed, and replaced, at each birth
	stderr []string      // the last lines
}

func demoSupported() error { return nil }

// startFamily starts the first generation. It must be ended by [family.end].
func startFamily(path string, lose int) (f *family, err error) {
	if err := adoptOrphans(); err != nil {
		return nil, err
	}
	f = &family{gone: make(chan struct{}), born: map[int]birth{}, news: make(chan struct{})}
	var pipes [6]*os.File // reading and writing end of standard input, output, error
	defer func() {
		for i, p := range pipes {
			mine := i == 1 || i == 2 || i == 4
			if p != nil && (err != nil || !mine) {
				p.Close()
			}
		}
	}()
	for i := 0; i < len(pipes); i += 2 {
		if pipes[i], pipes[i+1], err = os.Pipe(); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command(path, "demo-server", "--lose", strconv.Itoa(lose))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = pipes[0], pipes[3], pipes[5]
	// What a generation puts into the folder for temporary files goes with the
	// demo's own.
	cmd.Env = append(os.Environ(), "TMPDIR="+filepath.Dir(path))
	cmd.Env = withoutSupervisor(cmd.Env)
	// A group of its own, so that a terminal's Ctrl-C comes to the demo alone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	f.root, f.alive = cmd.Process, pipes[1]
	go f.readBirths(pipes[2])
	go f.readErrors(pipes[4])
	return f, nil
}

// withoutSupervisor drops what a service manager may have told this process
// and didn't mean for the demo's server.
func withoutSupervisor(env []string) []string {
	kept := env[:0]
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case strings.HasPrefix(name, "LISTEN_"), strings.HasPrefix(name, "WATCHDOG_"),
			name == "NOTIFY_SOCKET", name == "INVOCATION_ID", name == "SYSTEMD_EXEC_PID", name == "FDSTORE":
		default:
			kept = append(kept, kv)
		}
	}
	return kept
}

func (f *family) readBirths(r io.ReadCloser) {
	defer close(f.gone)
	defer r.Close()
	for lines := bufio.NewScanner(r); lines.Scan(); {
		b, ok := readBirth(lines.Text() + "\n")
		if !ok {
			continue
		}
		f.mu.Lock()
		f.born[b.pid] = b
		close(f.news)
		f.news = make(chan struct{})
		f.mu.Unlock()
	}
}

func (f *family) readErrors(r io.ReadCloser) {
	const keep = 5
	defer r.Close()
	for lines := bufio.NewScanner(r); lines.Scan(); {
		f.mu.Lock()
		f.stderr = append(f.stderr, lines.Text())
		f.stderr = f.stderr[max(0, len(f.stderr)-keep):]
		f.mu.Unlock()
	}
}

// explain adds the last words of the generations to err.
func (f *family) explain(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.stderr) == 0 {
		return err
	}
	return fmt.Errorf("%w; the server's last words:\n  %s", err, strings.Join(f.stderr, "\n  "))
}

var errFamilyGone = errors.New("the demo's server has ended")

// awaitFirst waits until the first generation listens.
func (f *family) awaitFirst(ctx context.Context) (birth, error) {
	return f.awaitBirth(ctx, f.root.Pid)
}

// awaitBirth waits until pid has said who it is.
func (f *family) awaitBirth(ctx context.Context, pid int) (birth, error) {
	for {
		f.mu.Lock()
		b, ok := f.born[pid]
		news := f.news
		f.mu.Unlock()
		if ok {
			return b, nil
		}
		select {
		case <-news:
		case <-f.gone:
			return birth{}, errFamilyGone
		case <-ctx.Done():
			return birth{}, fmt.Errorf("pid %d doesn't say that it listens: %w", pid, ctx.Err())
		}
	}
}

// upgrade signals the newest generation.
func (f *family) upgrade(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
		return fmt.Errorf("send SIGHUP to pid %d: %w", pid, os.NewSyscallError("kill", err))
	}
	return nil
}

// terminate stops the newest generation and waits until all have ended.
func (f *family) terminate(ctx context.Context, newest int) error {
	if err := syscall.Kill(newest, syscall.SIGTERM); err != nil {
		return fmt.Errorf("send SIGTERM to pid %d: %w", newest, os.NewSyscallError("kill", err))
	}
	ctx, cancel := context.WithTimeout(ctx, familyEndTimeout)
	defer cancel()
	if err := f.awaitGone(ctx); err != nil {
		return fmt.Errorf("the server has not ended after SIGTERM to pid %d: %w", newest, err)
	}
	return nil
}

func (f *family) awaitGone(ctx context.Context) error {
	select {
	case <-f.gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end ends what is left of the family, first by SIGTERM, and buries it.
func (f *family) end() error {
	defer f.alive.Close()
	select {
	case <-f.gone:
	default:
		f.signalAll(syscall.SIGTERM)
		ctx, cancel := context.WithTimeout(context.Background(), familyHurry)
		f.awaitGone(ctx)
		cancel()
	}
	// A generation that was being started when others were signalled comes to
	// light here.
	for deadline := time.Now().Add(familyKillTimeout); ; time.Sleep(5 * time.Millisecond) {
		f.signalAll(syscall.SIGKILL)
		if f.bury() {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("a process of the demo's server could not be ended")
		}
	}
}
