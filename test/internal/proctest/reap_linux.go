package proctest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const exeSuffix = ""

func becomeSubreaper() error {
	return os.NewSyscallError("prctl PR_SET_CHILD_SUBREAPER", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
}

// keepDescriptors marks all but the standard ones close-on-exec. On a kernel without
// close_range(2), Linux 5.8 and older, they stay as they are.
func keepDescriptors() { _ = unix.CloseRange(3, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC) }

// Adopt makes a process that the test did not start itself, such as a successor, end
// with the test: it is killed if it still runs, and reaped. Adopt fails t when there
// is no such process.
func Adopt(t testing.TB, pid int) *Adopted {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatalf("no process %d to adopt: %v", pid, err)
	}
	a := &Adopted{t: t, pid: pid, pidfd: fd}
	t.Cleanup(func() {
		unix.PidfdSendSignal(a.pidfd, unix.SIGKILL, nil, 0)
		a.ended(patience)
		a.reap()
		unix.Close(a.pidfd)
	})
	return a
}

// An Adopted process was started by a process under test.
type Adopted struct {
	t     testing.TB
	pid   int
	pidfd int // names the process even when its number is used anew
}

// Pid returns the process id.
func (a *Adopted) Pid() int { return a.pid }

// Signal sends a signal, and fails the test when the process is not there any more.
func (a *Adopted) Signal(sig unix.Signal) {
	a.t.Helper()
	if err := unix.PidfdSendSignal(a.pidfd, sig, nil, 0); err != nil {
		a.t.Fatalf("signal %v to adopted process %d: %v", sig, a.pid, err)
	}
}

// Alive reports whether the process has not ended yet.
func (a *Adopted) Alive() bool { return !a.ended(0) }

// Wait waits for the process to end. At the Deadline it fails the test.
func (a *Adopted) Wait() {
	a.t.Helper()
	if !a.ended(time.Until(Deadline(a.t))) {
		a.t.Fatalf("adopted process %d has not ended", a.pid)
	}
	a.reap()
}

// Stop signals the process and waits for its end. One that has ended is as good.
func (a *Adopted) Stop(sig unix.Signal) {
	a.t.Helper()
	unix.PidfdSendSignal(a.pidfd, sig, nil, 0)
	a.Wait()
}

func (a *Adopted) ended(within time.Duration) bool {
	deadline := time.Now().Add(within)
	for {
		left := max(0, int(time.Until(deadline).Milliseconds()))
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(a.pidfd), Events: unix.POLLIN}}, left)
		if err != unix.EINTR {
			return n > 0
		}
	}
}

// reap is in vain while another process is the parent: that one reaps it then, or
// leaves it to us at its own end.
func (a *Adopted) reap() {
	unix.Waitid(unix.P_PIDFD, a.pidfd, nil, unix.WEXITED|unix.WNOHANG, nil)
}

// endOwned kills the processes that carry owner in their environment, and returns
// those that it found alive.
func endOwned(owner string) []string {
	mark := "\x00" + ownerVariable + "=" + owner + "\x00"
	return endAll(func(pid int) bool { return strings.Contains("\x00"+environ(pid), mark) })
}

// environ returns the environment of a live process. It is unreadable for a moment
// while the process executes another program, so that an empty one is looked at
// again; that of a kernel thread (a child of number 2) stays empty.
func environ(pid int) string {
	for range 10 {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if len(data) > 0 || err != nil || parent(pid) == 2 || state(pid) == "Z" {
			return string(data)
		}
		time.Sleep(time.Millisecond)
	}
	return ""
}

// endChildren kills the children of this process, to whom everything below has come
// by then, and reaps them. It is for the time after the last test, when nobody else waits
// for any.
func endChildren() []string {
	killed := endAll(func(pid int) bool { return parent(pid) == os.Getpid() })
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err != unix.EINTR && pid <= 0 {
			return killed
		}
	}
}

// endAll looks again until it finds none: the end of one process makes its children
// ours, and one may have forked meanwhile.
func endAll(match func(pid int) bool) (killed []string) {
	seen := map[int]bool{}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		found := false
		for _, pid := range livePids() {
			if pid == os.Getpid() || !match(pid) {
				continue
			}
			found = true
			if !seen[pid] {
				seen[pid] = true
				killed = append(killed, describe(pid))
			}
			endPid(pid, match)
		}
		if !found {
			break
		}
	}
	return killed
}

// endPid asks match again once it has a hold of the process: the number could have
// passed on to another.
func endPid(pid int, match func(int) bool) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if match(pid) {
		unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
}

func livePids() (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil && state(pid) != "Z" {
			pids = append(pids, pid)
		}
	}
	return pids
}

// stat returns the fields of /proc/PID/stat after the name, which may hold anything.
func stat(pid int) []string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
}

func state(pid int) string {
	if fields := stat(pid); len(fields) > 0 {
		return fields[0]
	}
	return "Z"
}

func parent(pid int) int {
	if fields := stat(pid); len(fields) > 1 {
		ppid, _ := strconv.Atoi(fields[1])
		return ppid
	}
	return 0
}

func describe(pid int) string {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if len(line) == 0 {
		line, _ = os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	}
	return fmt.Sprintf("%d (%s)", pid, strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " ")))
}
