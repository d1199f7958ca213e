package handoff

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/handoff/internal/stage"
)

// kinPart has the test binary play the program that is started.
const kinPart = "HANDOFF_TEST_KIN"

func init() {
	if os.Getenv(kinPart) == "" {
		return
	}
	os.Unsetenv(kinPart)
	_ = json.NewEncoder(os.Stdout).Encode(lookAround())
	os.Exit(0)
}

// kinReport is what the program sees. Its own pid is "self" in it.
type kinReport struct {
	InPlace     bool     // it was executed once
	Environment []string // the protocol's variables
	Passed      []int    // descriptors above 2 that were passed
	Link        int
	Heirs       []string // variables that a process sees which this one starts, after Inherit
	HeirsFiles  string   // its descriptors
}

func lookAround() (r kinReport) {
	started, _ := os.ReadFile("/proc/self/environ")
	r.InPlace = bytes.Contains(started, []byte(stage.Variable+"="))
	r.Environment = protocolOf(os.Environ())
	for fd := 3; fd < 1000; fd++ {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			r.Passed = append(r.Passed, fd)
		}
	}
	if fd, ok := stage.Link(); ok {
		r.Link = fd
		os.Unsetenv(stage.LinkVariable) // as New does
	}
	if _, err := Inherit(InheritOptions{RequirePID: true}); err != nil {
		r.HeirsFiles = err.Error()
		return r
	}
	out, err := exec.Command("/bin/sh", "-c", "env; echo; for fd in /proc/$$/fd/*; do if [ -e $fd ]; then echo ${fd##*/}; fi; done").Output()
	if err != nil {
		out = []byte(err.Error())
	}
	env, files, _ := strings.Cut(string(out), "\n\n")
	r.Heirs = protocolOf(strings.Split(env, "\n"))
	r.HeirsFiles = strings.Join(strings.Fields(files), " ")
	return r
}

func protocolOf(env []string) (found []string) {
	own := strconv.Itoa(os.Getpid())
	for _, entry := range env {
		for _, prefix := range []string{"LISTEN_", "HANDOFF_STAGE", "HANDOFF_LINK", "WATCHDOG_PID", "SYSTEMD_EXEC_PID"} {
			if strings.HasPrefix(entry, prefix) {
				found = append(found, strings.ReplaceAll(entry, own, "self"))
			}
		}
	}
	slices.Sort(found)
	return found
}

// withoutLeaks has what the tests' own caller has left open stay in this process. It
// is for tests that don't run beside others, which leak on purpose.
func withoutLeaks(t *testing.T) {
	t.Helper()
	if err := unix.CloseRange(3, ^uint(0)>>33, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		t.Fatal(err)
	}
}

func ownPath(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// reportOf starts this program with two sockets and a link, in one of two ways.
func reportOf(t *testing.T, start func(*exec.Cmd, []*os.File, *os.File) error) (r kinReport) {
	t.Helper()
	var files []*os.File
	defer func() { closeAll(files) }()
	for _, name := range []string{"a", "b"} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		d, err := dupFile(File{Name: name, Conn: ln.(*net.TCPListener)})
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, d)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var out bytes.Buffer
	cmd := &exec.Cmd{Path: ownPath(t), Args: []string{"kin"}, Stdout: &out, Stderr: os.Stderr}
	cmd.Env = append(os.Environ(), kinPart+"=1", "GORACE=atexit_sleep_ms=0", "LISTEN_PID=1", "LISTEN_PIDFDID=1",
		"LISTEN_FDS_FIRST_FD=7", "WATCHDOG_USEC=1000000", "WATCHDOG_PID=1", "SYSTEMD_EXEC_PID=1")
	if err := start(cmd, files, null); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v: %s", err, &out)
	}
	return r
}

func TestAProgramOfOurOwnKindIsExecutedOnceAndSeesTheSame(t *testing.T) {
	withoutLeaks(t)
	want := kinReport{
		Environment: []string{"HANDOFF_LINK=5 self", "LISTEN_FDNAMES=a:b", "LISTEN_FDS=2", "LISTEN_PID=self", "SYSTEMD_EXEC_PID=self", "WATCHDOG_PID=self"},
		Passed:      []int{3, 4}, // the link is close-on-exec as soon as it is known
		Link:        5,
		Heirs:       []string{"SYSTEMD_EXEC_PID=self", "WATCHDOG_PID=self"}, // meant for another, and say so
		HeirsFiles:  "0 1 2",
	}
	if got := reportOf(t, startExporting); !reflect.DeepEqual(got, want) {
		t.Errorf("by the stage:\n%+v, want\n%+v", got, want)
	}
	want.InPlace = true
	if got := reportOf(t, startKin); !reflect.DeepEqual(got, want) {
		t.Errorf("directly:\n%+v, want\n%+v", got, want)
	}
}

func TestADescriptorThatLeakedDoesNotReachAProgramOfOurOwnKind(t *testing.T) {
	withoutLeaks(t)
	for _, number := range []int{60, 900} {
		if err := unix.Dup2(0, number); err != nil {
			t.Fatal(err)
		}
		got := reportOf(t, startKin)
		unix.Close(number)
		if !reflect.DeepEqual(got.Passed, []int{3, 4}) || got.HeirsFiles != "0 1 2" || got.InPlace {
			t.Errorf("with %d: %+v", number, got)
		}
	}
}

func TestOnlyAProgramWhoseFileSaysSoIsOfOurOwnKind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	self, err := os.ReadFile(ownPath(t))
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, content []byte, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, content, 0o755), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(ownPath(t), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		ownPath(t):                                          true,
		"/proc/self/exe":                                    true,
		filepath.Join(dir, "link"):                          true,
		"link":                                              true, // from the directory of the command
		file("copy", self, 0o755):                           true,
		file("suid", self, 0o755|os.ModeSetuid):             false,
		file("sgid", self, 0o755|os.ModeSetgid):             false,
		file("short", self[:4096], 0o755):                   false,
		file("script", []byte("#!"+ownPath(t)+"\n"), 0o755): false,
		file("empty", nil, 0o755):                           false,
		"/bin/sh":                                           false,
		dir:                                                 false,
		fifo:                                                false,
		filepath.Join(dir, "-"):                             false,
		os.DevNull:                                          false,
	} {
		if got := isKin(&exec.Cmd{Path: path, Dir: dir}); got != want {
			t.Errorf("%s: %v, want %v", filepath.Base(path), got, want)
		}
	}
}

func TestAProgramOfOurOwnKindThatCanNotBeExecutedIsReportedByItsErrno(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	self, err := os.ReadFile(ownPath(t))
	if err != nil {
		t.Fatal(err)
	}
	foreign := slices.Clone(self)
	foreign[18], foreign[19] = 0xff, 0x7e // e_machine
	for name, tc := range map[string]struct {
		content []byte
		mode    os.FileMode
		want    syscall.Errno
	}{
		"another architecture": {foreign, 0o755, syscall.ENOEXEC},
		"not executable":       {self, 0o644, syscall.EACCES},
		"gone since":           {nil, 0, syscall.ENOENT},
	} {
		path := filepath.Join(dir, name)
		cmd := &exec.Cmd{Path: path, Args: []string{"x"}}
		if tc.content != nil {
			if err := os.WriteFile(path, tc.content, tc.mode); err != nil {
				t.Fatal(err)
			}
			if !isKin(cmd) {
				t.Errorf("%s: it is not of our own kind", name)
			}
		}
		var wrong *fs.PathError
		if err := startKin(cmd, nil, nil); !errors.As(err, &wrong) || wrong.Path != path || wrong.Err != tc.want || wrong.Op != "exec" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAProgramThatOnlyLooksLikeOneOfOursIsStartedByTheStage(t *testing.T) {
	was := kinWait
	kinWait = 300 * time.Millisecond
	t.Cleanup(func() { kinWait = was })
	path := filepath.Join(t.TempDir(), "likeness")
	build := exec.Command("go", "build", "-o", path, "./testdata/likeness")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !isKin(&exec.Cmd{Path: path}) {
		t.Fatal("it does not look like one of ours")
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	stdout := os.Stdout
	os.Stdout = out // the successor's
	defer func() { os.Stdout = stdout }()
	u := newUpgrader(t, Options{Command: path, Args: []string{"likeness"}, Probation: -1})
	if _, err := u.Listen("web", "tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if err := u.Ready(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := u.Upgrade(ctx); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out.Name())
	if want := "HANDOFF_STAGE= false\nLISTEN_FDS=1 true\nLISTEN_FDNAMES=web true\n"; string(text) != want || err != nil {
		t.Errorf("it has seen %q, want %q (%v)", text, want, err)
	}
	if left := childrenNamed(t, "likeness"); left > 1 {
		t.Errorf("%d processes of it are left", left)
	}
}

// childrenNamed counts this process's children of a name.
func childrenNamed(t *testing.T, name string) (n int) {
	t.Helper()
	entries, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, _ := os.ReadFile(e)
		_, rest, _ := strings.Cut(string(text), "("+name+") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			n++
		}
	}
	return n
}

// Every package that another module can import, and so be listed with this module in
// its build information, has to bring the stage along.
func TestEveryPackageThatCanBeImportedHasTheStage(t *testing.T) {
	t.Parallel()
	list := exec.Command("go", "list", "-f", "{{.Name}} {{.ImportPath}} {{.Deps}}", module+"/...")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		name, rest, _ := strings.Cut(line, " ")
		path, deps, _ := strings.Cut(rest, " ")
		if name == "main" || strings.Contains(path, "/internal/") || strings.HasPrefix(path, module+"/test/") {
			continue
		}
		n++
		if !strings.Contains(deps, module+"/handoff/internal/stage") {
			t.Errorf("%s does not import the stage", path)
		}
	}
	if n < 3 {
		t.Errorf("only %d packages were found", n)
	}
}
