package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// group is a server's processes, of all generations: they share a process group
// and end with it. This process is their subreaper.
type group struct {
	pgid int // 0 until the first is started
	dir  string
	env  []string
}

func newGroup(dir string) *group {
	g := &group{dir: dir}
	for _, pair := range os.Environ() {
		switch name, _, _ := strings.Cut(pair, "="); {
		case strings.HasPrefix(name, "LISTEN_"), strings.HasPrefix(name, "WATCHDOG_"), name == "NOTIFY_SOCKET",
			name == "INVOCATION_ID", name == "SYSTEMD_EXEC_PID", name == "MAINPID", name == "FDSTORE":
		default:
			g.env = append(g.env, pair)
		}
	}
	return g
}

// start runs a program in the group. Its descriptors from 3 on are files.
func (g *group) start(env []string, files []*os.File, path string, args ...string) (pid int, err error) {
	log, err := os.OpenFile(g.log(), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	fds := []uintptr{null.Fd(), log.Fd(), log.Fd()}
	for _, f := range files {
		fds = append(fds, f.Fd())
	}
	pid, err = syscall.ForkExec(path, append([]string{path}, args...), &syscall.ProcAttr{
		Dir:   g.dir,
		Env:   append(append([]string(nil), g.env...), env...),
		Files: fds,
		Sys:   &syscall.SysProcAttr{Setpgid: true, Pgid: g.pgid},
	})
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EPERM) {
		g.pgid = 0 // all of it has ended
		return g.start(env, files, path, args...)
	}
	if err != nil {
		return 0, fmt.Errorf("start of %s: %w", path, err)
	}
	if g.pgid == 0 {
		g.pgid = pid
	}
	return pid, nil
}

func (g *group) log() string { return filepath.Join(g.dir, "log") }

// tail is the end of what the processes have written.
func (g *group) tail() string {
	data, _ := os.ReadFile(g.log())
	const most = 600
	if len(data) > most {
		data = data[len(data)-most:]
	}
	return strings.TrimSpace(string(data))
}

// end kills all of them and waits until they are gone.
func (g *group) end() error {
	if g.pgid == 0 {
		return nil
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := syscall.Kill(-g.pgid, syscall.SIGKILL)
		for {
			pid, werr := syscall.Wait4(-g.pgid, nil, syscall.WNOHANG, nil)
			if pid <= 0 || werr != nil {
				break
			}
		}
		if errors.Is(err, syscall.ESRCH) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes of group %d are still there", g.pgid)
		}
		time.Sleep(time.Millisecond)
	}
}

// watch is a process whose end is waited for.
type watch struct {
	pid   int
	pidfd *os.File
}

func watchProcess(pid int) (*watch, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("pidfd of process %d: %w", pid, err)
	}
	return &watch{pid, os.NewFile(uintptr(fd), "pidfd")}, nil
}

// gone waits until the process has ended, and tells when that was. It waits by Go's
// poller: a poll(2) of a second would keep one of the two processors' worth of goroutines,
// the clients among them, from running for the 10 ms until the runtime notices.
func (w *watch) gone(limit time.Duration) (at time.Time, ok bool) {
	raw, err := w.pidfd.SyscallConn()
	if err == nil {
		err = w.pidfd.SetReadDeadline(time.Now().Add(limit))
	}
	if err != nil {
		return time.Now(), false
	}
	err = raw.Read(func(fd uintptr) bool {
		n, perr := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return perr == nil && n > 0
	})
	at = time.Now()
	if err != nil {
		return at, false
	}
	syscall.Wait4(w.pid, nil, syscall.WNOHANG, nil) // it may be another's child
	return at, true
}

func (w *watch) close() { w.pidfd.Close() }

// rss is a process's resident memory in MiB, or 0 if it has ended.
func rss(pid int) float64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kib / 1024
		}
	}
	return 0
}
