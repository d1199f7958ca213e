//go:build unix

package handoff

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// In a child of these tests the variables say which part it plays, and how many
// descriptors it got.
const (
	inheritPart  = "HANDOFF_TEST_INHERIT"
	inheritCount = "HANDOFF_TEST_INHERIT_COUNT"
)

func init() {
	if part := os.Getenv(inheritPart); part != "" {
		os.Unsetenv(inheritPart)
		var r inheritReport
		r.play(part)
		_ = json.NewEncoder(os.Stdout).Encode(r)
		os.Exit(0)
	}
}

// inheritReport is what a child has seen.
type inheritReport struct {
	Err        string
	Entries    []string // Entry.String without the fd number
	Inheriting []int    // passed descriptors without close-on-exec, after Inherit
	Env        []string // LISTEN_* after Inherit
	Grandchild []string // LISTEN_* in a process started by os/exec
	Second     int      // how many a second Inherit gives
	Opened     int      // how many more descriptors are open after all were taken
	Used       []string // what came of using each
}

func (r *inheritReport) play(part string) {
	// Let the runtime open its epoll instance before anything is counted.
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		ln.Close()
	}
	count, _ := strconv.Atoi(os.Getenv(inheritCount))
	before := openFDs()
	set, err := Inherit(InheritOptions{RequirePID: part == "strict"})
	r.Inheriting = inheritableFDs(count)
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, "LISTEN_") {
			r.Env = append(r.Env, kv)
		}
	}
	out, _ := exec.Command("env").Output()
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "LISTEN_") {
			r.Grandchild = append(r.Grandchild, line)
		}
	}
	if second, err := Inherit(InheritOptions{}); err != nil {
		r.Second = -1
	} else {
		r.Second = second.Len()
	}
	if err != nil {
		r.Err = err.Error()
		return
	}
	for e := range set.All() {
		_, text, _ := strings.Cut(e.String(), `"`)
		r.Entries = append(r.Entries, `"`+text)
	}
	if part != "use" {
		return
	}
	var taken []io.Closer
	for e := range set.All() {
		c, err := takeByKind(set, e)
		if err != nil {
			r.Used = append(r.Used, err.Error())
			return
		}
		taken = append(taken, c)
	}
	r.Opened = openFDs() - before
	r.Used = make([]string, len(taken))
	var wg sync.WaitGroup
	for i, c := range taken {
		wg.Go(func() {
			r.Used[i] = use(c)
			c.Close()
		})
	}
	wg.Wait()
}

func takeByKind(set *Set, e Entry) (io.Closer, error) {
	sel := ByName(e.Name)
	switch e.Kind {
	case KindTCPListener, KindUnixListener, KindSeqpacketListener:
		return set.Listener(sel)
	case KindUDP, KindUnixgram:
		return set.PacketConn(sel)
	case KindTCPConn, KindUnixConn, KindSeqpacketConn:
		return set.Conn(sel)
	}
	return set.File(sel)
}

// use has one exchange with the parent, and says which.
func use(c io.Closer) string {
	deadline := time.Now().Add(20 * time.Second)
	buf := make([]byte, 64)
	switch c := c.(type) {
	case net.Listener:
		conn, err := c.Accept()
		if err != nil {
			return err.Error()
		}
		defer conn.Close()
		return "accepted " + use(conn)
	case net.Conn:
		if _, bound := c.(net.PacketConn); bound && c.RemoteAddr() == nil {
			break // a datagram socket has both faces
		}
		_ = c.SetDeadline(deadline)
		n, err := c.Read(buf)
		if err != nil {
			return err.Error()
		}
		_, err = c.Write(buf[:n])
		return fmt.Sprintf("echoed %s %v", buf[:n], err)
	case *os.File:
		n, err := c.Read(buf)
		return fmt.Sprintf("read %q %v", buf[:n], err)
	}
	pc := c.(net.PacketConn)
	_ = pc.SetDeadline(deadline)
	n, from, err := pc.ReadFrom(buf)
	if err != nil {
		return err.Error()
	}
	_, err = pc.WriteTo(buf[:n], from)
	return fmt.Sprintf("answered %s %v", buf[:n], err)
}

func openFDs() int { return len(fdsWhere(256, func(int) bool { return true })) }

// inheritableFDs looks at the n passed ones only: whatever runs the tests may
// have left others open.
func inheritableFDs(n int) []int {
	return fdsWhere(3+n, func(flags int) bool { return flags&unix.FD_CLOEXEC == 0 })
}

func fdsWhere(below int, yes func(flags int) bool) []int {
	var all []int
	for fd := 3; fd < below; fd++ {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && yes(flags) {
			all = append(all, fd)
		}
	}
	return all
}

// inheritChild prepares a child that gets files from descriptor 3 on, and env.
// A shell in front fills in LISTEN_PID=self, as a service manager would.
func inheritChild(t *testing.T, part string, env []string, files ...*os.File) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c",
		`if [ "$LISTEN_PID" = self ]; then LISTEN_PID=$$; fi; exec "$0"`, exe)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "LISTEN_") }), env...)
	cmd.Env = append(cmd.Env, inheritPart+"="+part, fmt.Sprintf("%s=%d", inheritCount, len(files)), "GORACE=atexit_sleep_ms=0")
	cmd.ExtraFiles = files
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	return cmd, &out
}

func runInheritChild(t *testing.T, part string, env []string, files ...*os.File) inheritReport {
	t.Helper()
	cmd, out := inheritChild(t, part, env, files...)
	if err := cmd.Run(); err != nil {
		t.Fatal(err, out)
	}
	return readReport(t, out)
}

func readReport(t *testing.T, out *bytes.Buffer) inheritReport {
	t.Helper()
	var r inheritReport
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return r
}

func nullFile(t *testing.T) *os.File {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestAProcessFindsWhatItWasPassedAndItsChildrenDoNot(t *testing.T) {
	t.Parallel()
	r := runInheritChild(t, "strict", []string{"LISTEN_PID=self", "LISTEN_FDS=2", "LISTEN_FDNAMES=a:b"}, nullFile(t), nullFile(t))
	if r.Err != "" || !slices.Equal(r.Entries, []string{`"a": character device`, `"b": character device`}) {
		t.Errorf("got %q, %s", r.Entries, r.Err)
	}
	if len(r.Env)+len(r.Grandchild)+len(r.Inheriting) > 0 || r.Second != 0 {
		t.Errorf("left in the environment %q, in a child's %q, without close-on-exec %v, second Inherit %d",
			r.Env, r.Grandchild, r.Inheriting, r.Second)
	}
}

func TestTheDialectOfSystemfdIsUnderstood(t *testing.T) {
	t.Parallel()
	env := []string{"LISTEN_FDS=1", "LISTEN_FDS_FIRST_FD=4"}
	r := runInheritChild(t, "plain", env, nullFile(t), nullFile(t))
	if !slices.Equal(r.Entries, []string{`"unknown": character device`}) || !slices.Equal(r.Inheriting, []int{3}) {
		t.Errorf("%+v", r)
	}
	r = runInheritChild(t, "strict", env, nullFile(t), nullFile(t))
	if r.Err != "" || r.Entries != nil || !slices.Equal(r.Inheriting, []int{3, 4}) || r.Env != nil {
		t.Errorf("with RequirePID: %+v", r)
	}
}

func TestAnotherProcesssDescriptorsAreLeftAlone(t *testing.T) {
	t.Parallel()
	r := runInheritChild(t, "plain", []string{"LISTEN_PID=1", "LISTEN_FDS=1"}, nullFile(t))
	if r.Err != "" || r.Entries != nil || r.Env != nil || !slices.Equal(r.Inheriting, []int{3}) {
		t.Errorf("%+v", r)
	}
	if _, ok := ownPidfdID(); !ok {
		return
	}
	r = runInheritChild(t, "plain", []string{"LISTEN_PID=self", "LISTEN_PIDFDID=1", "LISTEN_FDS=1"}, nullFile(t))
	if r.Err != "" || r.Entries != nil || r.Env != nil || !slices.Equal(r.Inheriting, []int{3}) {
		t.Errorf("by LISTEN_PIDFDID: %+v", r)
	}
}

// The Go runtime's own descriptors come right after the passed ones.
func TestAnOldCountDoesNotGiveAwayWhatTheProcessOpenedItself(t *testing.T) {
	t.Parallel()
	r := runInheritChild(t, "plain", []string{"LISTEN_PID=self", "LISTEN_FDS=2"}, nullFile(t))
	if !strings.Contains(r.Err, `LISTEN_FDS="2" can't be used: of the descriptors 3 to 4 that it speaks of, descriptor 4 was not passed`) {
		t.Errorf("%+v", r)
	}
	if len(r.Env)+len(r.Inheriting) > 0 || r.Second != 0 {
		t.Errorf("left: %+v", r)
	}
}

func TestOneClosedDescriptorFailsTheWholeCallQuickly(t *testing.T) {
	t.Parallel()
	started := time.Now()
	for _, n := range []string{"200", "2147483645"} {
		r := runInheritChild(t, "plain", []string{"LISTEN_PID=self", "LISTEN_FDS=" + n, "LISTEN_FDS_FIRST_FD=150"}, nullFile(t))
		if n == "2147483645" {
			if !strings.Contains(r.Err, "can't be more than") {
				t.Errorf("%+v", r)
			}
		} else if !strings.Contains(r.Err, "descriptor 150 is not open: bad file descriptor") || !slices.Equal(r.Inheriting, []int{3}) {
			t.Errorf("%+v", r)
		}
	}
	r := runInheritChild(t, "plain", []string{"LISTEN_PID=self", "LISTEN_FDS=2147483645"}, nullFile(t))
	if r.Err == "" || r.Inheriting != nil {
		t.Errorf("%+v", r)
	}
	if took := time.Since(started); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
}

// passed is something that a child inherits and the test talks to.
type passed struct {
	file  *os.File
	entry string // as the child's Entry describes it
	used  string // what the child says after using it
	talk  func() error
}

func TestAllKindsWorkInTheProcessTheyWerePassedTo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plain, err := os.Create(filepath.Join(dir, "file"))
	all := map[string]passed{
		"tcp":      passedListener(t, "tcp4", "127.0.0.1:0", "TCP listener on "),
		"unix":     passedListener(t, "unix", filepath.Join(dir, "stream"), "unix stream listener on "),
		"udp":      passedPacketConn(t, "udp4", "127.0.0.1:0", "UDP socket on "),
		"unixgram": passedPacketConn(t, "unixgram", filepath.Join(dir, "gram"), "unix datagram socket on "),
		"conn":     passedConn(t),
		"fifo":     passedFIFO(t, filepath.Join(dir, "fifo")),
		"file":     passedFile(t, plain, err, "regular file"),
		"null":     {file: nullFile(t), entry: "character device", used: `read "" EOF`},
	}
	if ln, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		ln.Close()
		all["tcp6"] = passedListener(t, "tcp6", "[::1]:0", "TCP listener on ")
	}
	if runtime.GOOS == "linux" {
		all["seqpacket"] = passedListener(t, "unixpacket", filepath.Join(dir, "packet"), "unix seqpacket listener on ")
		memfd, err := memfdFile()
		all["memfd"] = passedFile(t, memfd, err, "memfd")
	}
	var names, wantEntries, wantUsed []string
	var files []*os.File
	for name, p := range all {
		names = append(names, name)
		files = append(files, p.file)
		wantEntries = append(wantEntries, fmt.Sprintf("%q: %s", name, p.entry))
		wantUsed = append(wantUsed, p.used)
	}
	cmd, out := inheritChild(t, "use", []string{"LISTEN_PID=self", fmt.Sprintf("LISTEN_FDS=%d", len(all)),
		"LISTEN_FDNAMES=" + strings.Join(names, ":")}, files...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for name, p := range all {
		if p.talk == nil {
			continue
		}
		if err := p.talk(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err, out)
	}
	r := readReport(t, out)
	if !slices.Equal(r.Entries, wantEntries) {
		t.Errorf("entries:\n%s\nwant:\n%s", strings.Join(r.Entries, "\n"), strings.Join(wantEntries, "\n"))
	}
	if !slices.Equal(r.Used, wantUsed) {
		t.Errorf("used:\n%s\nwant:\n%s", strings.Join(r.Used, "\n"), strings.Join(wantUsed, "\n"))
	}
	if r.Opened != 0 || r.Inheriting != nil || r.Err != "" {
		t.Errorf("%d more descriptors open, %v without close-on-exec, error %q", r.Opened, r.Inheriting, r.Err)
	}
	for _, path := range []string{"stream", "packet"} {
		if _, err := os.Stat(filepath.Join(dir, path)); err != nil && runtime.GOOS == "linux" {
			t.Errorf("the child unlinked a path that isn't its own: %v", err)
		}
	}
}

// fileFrom keeps only a duplicate: the child gets that, the parent's is closed.
func fileFrom(t *testing.T, c io.Closer) *os.File {
	t.Helper()
	f := os.NewFile(uintptr(dupOf(t, c)), "passed")
	t.Cleanup(func() { f.Close() })
	return f
}

func echo(c net.Conn) error {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	buf := make([]byte, 64)
	n, err := c.Read(buf)
	if err == nil && string(buf[:n]) != "hello" {
		err = fmt.Errorf("got back %q", buf[:n])
	}
	return err
}

func passedListener(t *testing.T, network, addr, entry string) passed {
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	at := ln.Addr()
	return passed{file: fileFrom(t, ln), entry: entry + at.String(), used: "accepted echoed hello <nil>", talk: func() error {
		c, err := net.Dial(at.Network(), at.String())
		if err != nil {
			return err
		}
		return echo(c)
	}}
}

func passedPacketConn(t *testing.T, network, addr, entry string) passed {
	pc, err := net.ListenPacket(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	at := pc.LocalAddr()
	return passed{file: fileFrom(t, pc), entry: entry + at.String(), used: "answered hello <nil>", talk: func() error {
		var c net.Conn
		var err error
		if unixAt, ok := at.(*net.UnixAddr); ok {
			c, err = net.DialUnix("unixgram", &net.UnixAddr{Name: addr + ".client", Net: "unixgram"}, unixAt)
		} else {
			c, err = net.Dial(at.Network(), at.String())
		}
		if err != nil {
			return err
		}
		return echo(c)
	}}
}

func passedConn(t *testing.T) passed {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return passed{
		file:  fileFrom(t, c),
		entry: fmt.Sprintf("connected TCP socket on %v with peer %v", ln.Addr(), client.LocalAddr()),
		used:  "echoed hello <nil>",
		talk:  func() error { return echo(client) },
	}
}

func passedFIFO(t *testing.T, path string) passed {
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0) // O_RDWR doesn't wait for a writer
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return passed{file: f, entry: "FIFO", used: `read "hello" <nil>`, talk: func() error {
		w, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = w.WriteString("hello")
		return errors.Join(err, w.Close())
	}}
}

// passedFile passes f with "text" in it.
func passedFile(t *testing.T, f *os.File, err error, entry string) passed {
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	_, err = f.WriteString("text")
	_, serr := f.Seek(0, io.SeekStart)
	if err := errors.Join(err, serr); err != nil {
		t.Fatal(err)
	}
	return passed{file: f, entry: entry, used: `read "text" <nil>`}
}
