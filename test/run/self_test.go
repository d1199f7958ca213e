//go:build linux

package run

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.(*net.TCPListener)
}

// holdBy is holdOurs with a copy of the command that the test can replace.
func holdBy(t *testing.T, mode string, flags ...string) (*holder, string) {
	t.Helper()
	cmd, addr, file := ours(t, mode, flags...)
	path := filepath.Join(t.TempDir(), "handoff")
	install(t, cmd.Path, path)
	cmd.Path, cmd.Args[0] = path, path
	h := start(t, cmd, addr)
	h.mode = file
	h.saying("serves")
	return h, path
}

// install puts a file in the place of another as a package manager does it.
func install(t *testing.T, from, to string) {
	t.Helper()
	// By another process: one that this one forks meanwhile would hold the file open.
	out, err := exec.Command("cp", from, to+".new").CombinedOutput()
	if err == nil {
		err = os.Chmod(to+".new", 0o755)
	}
	if err == nil {
		err = os.Rename(to+".new", to)
	}
	if err != nil {
		t.Fatal(err, string(out))
	}
}

// reexec has the holder upgrade itself, and waits for that.
func (h *holder) reexec() {
	h.t.Helper()
	before := strings.Count(h.Output(), "the holder has upgraded itself")
	h.Signal(syscall.SIGUSR2)
	h.Until("the holder to upgrade itself", func() error {
		if strings.Count(h.Output(), "the holder has upgraded itself") == before {
			return fmt.Errorf("it has not")
		}
		return nil
	})
}

func TestAHolderUpgradesItselfUnderItsProgram(t *testing.T) {
	t.Parallel()
	h, path := holdBy(t, "notify")
	g := h.load(load.NewConn(), load.KeepAlive())
	pid, before := h.pid(), inode(t, h.Pid())
	mask := h.get("/mask")
	for range 3 {
		install(t, handoffCommand(t), path)
		h.reexec()
		now := inode(t, h.Pid())
		if now == before {
			t.Error("the holder runs the same file")
		}
		before = now
		if h.pid() != pid {
			t.Error("the program is another")
		}
		h.upgrade()
		h.Until("another process", func() error {
			now := h.pid()
			if now == pid {
				return fmt.Errorf("the old one answers")
			}
			pid = now
			return nil
		})
		if now := h.get("/mask"); now != mask {
			t.Errorf("the copy's signal mask is %q, and was %q", now, mask)
		}
	}
	r := g.Stop()
	if n := r.Failures[load.Refused]; n > 0 {
		t.Errorf("%d connections were refused", n)
	}
	if err := h.copies(1); err != nil {
		h.Until("one copy", func() error { return h.copies(1) })
	}
	h.end(0)
}

func inode(t *testing.T, pid int) uint64 {
	t.Helper()
	info, err := os.Stat("/proc/" + strconv.Itoa(pid) + "/exe")
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

func TestABrokenHolderOnDiskChangesNothing(t *testing.T) {
	t.Parallel()
	for name, replace := range map[string]func(t *testing.T, path string){
		"missing": func(t *testing.T, path string) { os.Remove(path) },
		"empty": func(t *testing.T, path string) {
			empty := filepath.Join(t.TempDir(), "empty")
			write(t, empty, "")
			install(t, empty, path)
		},
		"another program":    func(t *testing.T, path string) { install(t, "/bin/true", path) },
		"one that fails":     func(t *testing.T, path string) { install(t, "/bin/false", path) },
		"one that says junk": func(t *testing.T, path string) { install(t, "/bin/echo", path) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, path := holdBy(t, "notify")
			g := h.load(load.NewConn())
			pid := h.pid()
			replace(t, path)
			h.Signal(syscall.SIGUSR2)
			h.saying("the holder's own upgrade has failed, and nothing has changed")
			if h.pid() != pid {
				t.Error("the program is another")
			}
			h.upgrade()
			install(t, handoffCommand(t), path)
			h.reexec()
			h.upgrade()
			lossless(t, g.Stop())
			h.end(0)
		})
	}
}

func TestAHolderThatUpgradesItselfDuringAnUpgradeDoesOneAfterTheOther(t *testing.T) {
	t.Parallel()
	h, _ := holdBy(t, "late", "--workers", "2")
	h.Signal(syscall.SIGHUP)
	h.saying("started generation 2")
	h.Signal(syscall.SIGUSR2)
	h.saying("the holder has upgraded itself; generation 2")
	h.Until("two copies", func() error { return h.copies(2) })
	h.end(0)
}

func TestAnOldCopyThatDrainsIsKilledInTimeByAHolderThatHasUpgradedItself(t *testing.T) {
	t.Parallel()
	h, _ := holdBy(t, "notify deaf", "--stop-timeout", "1500ms")
	write(t, h.mode, "notify")
	h.upgrade()
	h.reexec()
	h.Until("one copy", func() error { return h.copies(1) })
	if !strings.Contains(h.Output(), "killing it") {
		t.Error("the deaf copy was not killed by the holder")
	}
	h.end(0)
}

func TestTheServiceManagerIsNotToldTwiceAndAUnixSocketIsRemovedAfterAllUpgrades(t *testing.T) {
	t.Parallel()
	r, told := manager(t)
	path := filepath.Join(shortDir(t), "app.sock")
	cmd, addr, file := ours(t, "notify", "-l", path)
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+r.Address())
	h := start(t, cmd, addr)
	h.mode = file
	told(h, "READY=1")
	h.reexec()
	h.get("/notify?state=STATUS=after")
	r.SetReadDeadline(time.Now().Add(20 * time.Second))
	m, err := r.Receive()
	if err != nil || m.Ready() || m.Status() != "after" {
		t.Errorf("the manager is told %q, %v", m.Lines, err)
	}
	h.end(0)
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket's file: %v", err)
	}
}

// status reads a field of /proc/PID/status, in KiB or as a number.
func status(t *testing.T, pid int, field string) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if name, value, _ := strings.Cut(line, ":"); name == field {
			n, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("process %d has no %s", pid, field)
	return 0
}

func descriptors(t *testing.T, pid int) int {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// ticks is how much processor time a process has had, in hundredths of a second.
func ticks(t *testing.T, pid int) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return user + system
}

func TestAHolderIsSmallAndRestsAndSwapsLeakNothing(t *testing.T) {
	t.Parallel()
	swaps := 30
	if proctest.Long() {
		swaps = 1000
	}
	cmd, addr, file := ours(t, "notify", "--probation", "1ms")
	cmd.Path = buildHandoff(t, false)
	cmd.Args[0] = cmd.Path
	h := start(t, cmd, addr)
	h.mode = file
	h.saying("serves")
	const most = 10 << 10
	at := func(when string) { // it says that it serves before it gives memory back
		var rss int
		h.Until(fmt.Sprintf("%s: %d KiB resident at most", when, most), func() error {
			if rss = status(t, h.Pid(), "VmRSS"); rss > most {
				return fmt.Errorf("%d KiB are resident", rss)
			}
			return nil
		})
		t.Logf("%s: %d KiB resident", when, rss)
	}
	at("at the beginning")
	swap := func() {
		old := h.pid()
		h.Signal(syscall.SIGHUP)
		h.Until("another process", func() error {
			if h.pid() == old {
				return fmt.Errorf("the old one answers")
			}
			return h.copies(1)
		})
	}
	for range 5 {
		swap()
	}
	threads, open := status(t, h.Pid(), "Threads"), descriptors(t, h.Pid())
	for range swaps {
		swap()
	}
	at(fmt.Sprintf("after %d swaps", swaps))
	// Answers need more, and give it back.
	for range 3 {
		if out, err := exec.Command(cmd.Path, "status", "--pid", strconv.Itoa(h.Pid())).CombinedOutput(); err != nil {
			t.Errorf("handoff status: %v: %s", err, out)
		}
	}
	at("after it was asked")
	h.Until("the descriptors to be as few as before", func() error {
		if n := descriptors(t, h.Pid()); n > open {
			return fmt.Errorf("%d are open, and were %d", n, open)
		}
		return nil
	})
	if n := status(t, h.Pid(), "Threads"); n > threads+4 {
		t.Errorf("%d threads, and were %d", n, threads)
	}
	h.Until("two seconds without any processor time", func() error {
		before := ticks(t, h.Pid())
		time.Sleep(2 * time.Second) // it is the time that is measured
		if n := ticks(t, h.Pid()) - before; n > 0 {
			return fmt.Errorf("%d hundredths of a second", n)
		}
		return nil
	})
	h.end(0)
}

// A Go program ends by SIGHUP until it says that it wants it, and this one begins anew.
func TestAHolderSurvivesASignalThatComesWhileItUpgradesItself(t *testing.T) {
	t.Parallel()
	h, _ := holdBy(t, "notify", "--probation", "1ms")
	pid := h.pid()
	times := 8
	if proctest.Long() {
		times = 60
	}
	for i := range times {
		done := strings.Count(h.Output(), "the holder has upgraded itself")
		h.Signal(syscall.SIGUSR2)
		time.Sleep(time.Duration(i%8) * 7 * time.Millisecond) // wherever it hits
		h.Signal(syscall.SIGHUP)
		h.Until("the holder to upgrade itself", func() error {
			if strings.Count(h.Output(), "the holder has upgraded itself") == done {
				return fmt.Errorf("it has not")
			}
			return nil
		})
		h.Signal(syscall.SIGHUP) // the first may be lost
		h.Until("another process", func() error {
			now := h.pid()
			if now == pid {
				return fmt.Errorf("the old one answers")
			}
			pid = now
			return nil
		})
	}
	h.Until("one copy", func() error { return h.copies(1) })
	h.end(0)
}
