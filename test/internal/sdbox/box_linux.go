package sdbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/test/internal/proctest"
	"golang.org/x/sys/unix"
)

// Options say what is in a box. The zero value is a box without any service.
type Options struct {
	// Units are the unit files by name, such as "app.service" or, for a drop-in,
	// "app.service.d/more.conf". WriteFile with UnitDir changes them later.
	Units map[string]string
	// Files are copied into the box: by path in the box, the file outside. The mode
	// is kept.
	Files map[string]string
	// Root is the folder with the system to run, such as debootstrap makes. "" is
	// the machine's own "/".
	Root string
}

// UnitDir is the folder of the test's unit files in the box.
const UnitDir = "/run/sdbox/units"

// A Box is a running systemd. Its methods may be called by any goroutine, but those
// that fail the test only by the test's own.
type Box struct {
	t       testing.TB
	pid     int // of the box's PID 1, outside
	cgroup  string
	console *console
	ended   chan struct{} // closed when PID 1 has ended
	closed  bool
}

// bootTime is how long a boot may take: 0.1 s on a machine that is idle.
const bootTime = 30 * time.Second

// Start boots a box, which ends with the test. When the test has failed then, the
// box's journal is printed. Where the machine lacks what a box needs the test is
// skipped, or fails when CI=true.
func Start(t testing.TB, opts Options) *Box {
	t.Helper()
	if opts.Root == "" {
		opts.Root = "/"
	}
	requirements(t, opts.Root)
	b := &Box{t: t, ended: make(chan struct{})}
	if err := b.start(opts); err != nil {
		b.Close()
		if errors.Is(err, unix.EPERM) {
			proctest.Missing(t, "a systemd of the test's own can't be started: %v", err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() && !b.closed {
			t.Logf("journal of the box:\n%s", b.journal("-n", "400"))
		}
		b.Close()
	})
	b.waitForBoot()
	return b
}

func requirements(t testing.TB, root string) {
	t.Helper()
	if os.Geteuid() != 0 {
		proctest.Missing(t, "a systemd of the test's own needs root")
	}
	if systemdIn(root) == "" {
		proctest.Missing(t, "systemd is not installed in %s", root)
	}
	proctest.RequireTool(t, "nsenter")
	if cgroupMount() == "" {
		proctest.Missing(t, "no cgroup2 file system is mounted to be written to")
	}
}

// systemdIn returns the path in root of its systemd, or "".
func systemdIn(root string) string {
	for _, path := range []string{"/usr/lib/systemd/systemd", "/lib/systemd/systemd"} {
		if info, err := os.Stat(filepath.Join(root, path)); err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	return ""
}

func cgroupMount() string {
	data, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if f[2] == "cgroup2" && strings.HasPrefix(f[3]+",", "rw,") {
			return f[1]
		}
	}
	return ""
}

func (b *Box) start(opts Options) (err error) {
	if b.cgroup, err = os.MkdirTemp(cgroupMount(), "handoff-test-"); err != nil {
		return err
	}
	if err := os.Chmod(b.cgroup, 0o755); err != nil { // a service may be another user's manager
		return err
	}
	cgroup, err := os.Open(b.cgroup)
	if err != nil {
		return err
	}
	defer cgroup.Close()
	if b.console, err = openConsole(); err != nil {
		return err
	}
	dir := b.t.TempDir()
	plan, err := json.Marshal(plan{Options: opts, Dir: dir, Console: b.console.path})
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "plan")
	if err := os.WriteFile(file, plan, 0o600); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self)
	cmd.Env = []string{planVariable + "=" + file}
	cmd.Stdout, cmd.Stderr = b.console.far, b.console.far
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET,
		Setsid:      true,
		UseCgroupFD: true,
		CgroupFD:    int(cgroup.Fd()),
	}
	started := make(chan error)
	go func() {
		// The box dies with the thread that started it (PR_SET_PDEATHSIG), so that it
		// doesn't outlive a test run that is killed. The thread stays this goroutine's.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how PID 1 ends is of no interest
			close(b.ended)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting the box: %w", err)
	}
	b.pid = cmd.Process.Pid
	return nil
}

func (b *Box) waitForBoot() {
	b.t.Helper()
	for deadline := time.Now().Add(bootTime); ; time.Sleep(5 * time.Millisecond) {
		if !b.alive() {
			b.t.Fatalf("the box has ended at its boot; its console:\n%s", b.console)
		}
		state := "no systemd yet"
		if _, err := os.Stat(b.Path("/run/systemd/private")); err == nil && b.inside() {
			out, _ := b.Systemctl("is-system-running")
			if state = strings.TrimSpace(out); state == "running" || state == "degraded" {
				break
			}
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("the box is not up after %v (%s); its console:\n%s", bootTime, state, b.console)
		}
	}
	// So far PID 1 wrote to the console; from now on beside its units, to the journal.
	if out, code := b.Systemctl("log-target", "journal"); code != 0 {
		b.t.Fatalf("systemctl log-target: %s", out)
	}
}

// inside tells whether the box's first process has come into its own root: before, Path
// would lead to the machine's.
func (b *Box) inside() bool {
	_, err := os.Stat(b.Path(UnitDir))
	return err == nil
}

// PID returns the process id, outside, of the box's PID 1.
func (b *Box) PID() int { return b.pid }

// Path returns the path under which the test finds what is at path in the box.
func (b *Box) Path(path string) string {
	return fmt.Sprintf("/proc/%d/root%s", b.pid, filepath.Join("/", path))
}

// WriteFile puts a file into the box as a package manager does: under another name
// first, so that a program that runs can be replaced.
func (b *Box) WriteFile(path string, data []byte, mode os.FileMode) {
	b.t.Helper()
	// A process that another test starts meanwhile would have the file open for writing
	// until it executes its program, and the box could not execute the file.
	syscall.ForkLock.RLock()
	err := replaceFile(b.Path(path), data, mode)
	syscall.ForkLock.RUnlock()
	if err != nil {
		b.t.Fatal(err)
	}
}

// Close ends the box at once, everything in it included: PID 1 is killed, the kernel
// ends the rest. Closing it again does nothing.
func (b *Box) Close() {
	if b.closed {
		return
	}
	b.closed = true
	if b.pid != 0 {
		// Not reaped before ended is closed, so the number is still the box's.
		if b.alive() {
			_ = unix.Kill(b.pid, unix.SIGKILL)
		}
		<-b.ended
	}
	if b.console != nil {
		b.console.close()
	}
	if b.cgroup != "" {
		if err := removeCgroup(b.cgroup); err != nil {
			b.t.Errorf("the box's cgroup: %v", err)
		}
	}
}

func (b *Box) alive() bool {
	select {
	case <-b.ended:
		return false
	default:
		return true
	}
}

// removeCgroup removes the folder and those below. Processes that have just been killed
// may still be in them for a moment.
func removeCgroup(path string) error {
	entries, _ := os.ReadDir(path)
	for _, e := range entries {
		if e.IsDir() {
			if err := removeCgroup(filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		err := unix.Rmdir(path)
		if err == nil || err == unix.ENOENT {
			return nil
		}
		if time.Now().After(deadline) {
			return &os.PathError{Op: "rmdir", Path: path, Err: err}
		}
	}
}
