//go:build unix

package spec

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func parse(t testing.TB, texts ...string) (all []Spec) {
	t.Helper()
	for _, text := range texts {
		s, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

func mustOpen(t *testing.T, texts ...string) []*Socket {
	t.Helper()
	all, err := Open(t.Context(), parse(t, texts...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, s := range all {
			s.Discard()
		}
	})
	return all
}

// folder has a path that is short enough for a socket in it.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "spec")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func control1(t *testing.T, s *Socket, do func(fd int) error) {
	t.Helper()
	raw, err := s.Conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var derr error
	if err := raw.Control(func(fd uintptr) { derr = do(int(fd)) }); err != nil || derr != nil {
		t.Fatal(err, derr)
	}
}

func wantOption(t *testing.T, s *Socket, name string, level, option, want int) {
	t.Helper()
	control1(t, s, func(fd int) error {
		got, err := unix.GetsockoptInt(fd, level, option)
		if err == nil && (got != 0) != (want != 0) {
			t.Errorf("%s of %s is %d, want %d", name, s, got, want)
		}
		return err
	})
}

// answer accepts one connection and says a word to it.
func answer(t *testing.T, s *Socket) {
	t.Helper()
	control1(t, s, func(fd int) error {
		c, _, err := unix.Accept(fd)
		if err != nil {
			return err
		}
		defer unix.Close(c)
		_, err = unix.Write(c, []byte("hello"))
		return err
	})
}

func TestAnOpenedSocketIsConnectedTo(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	texts := []string{"127.0.0.1:0", "http=http::localhost:0", "0", dir + "/s", "http::" + dir + "/h"}
	if runtime.GOOS != "darwin" {
		texts = append(texts, "seqpacket::"+dir+"/q")
	}
	if hasAbstract {
		texts = append(texts, "@handoff-spec-test-"+strconv.Itoa(os.Getpid()))
	}
	for _, s := range mustOpen(t, texts...) {
		addr := s.Addr.String()
		if strings.HasPrefix(addr, "[::]") {
			addr = strings.Replace(addr, "[::]", "127.0.0.1", 1) // both families
		}
		c, err := net.Dial(s.Spec.Network(), addr)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		answer(t, s)
		text := make([]byte, 9)
		if n, err := c.Read(text); err != nil || string(text[:n]) != "hello" {
			t.Errorf("%s: %q, %v", s, text[:n], err)
		}
		c.Close()
		want := s.Spec.Name
		if want == "" {
			want = "unknown"
		}
		if s.Name != want {
			t.Errorf("%s: the name is %q, want %q", s, s.Name, want)
		}
	}
}

func TestAnOpenedSocketReceives(t *testing.T) {
	t.Parallel()
	for _, s := range mustOpen(t, "udp::127.0.0.1:0", "unixgram::"+folder(t)+"/d") {
		c, err := net.Dial(s.Addr.Network(), s.Addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "hello"); err != nil {
			t.Fatal(err)
		}
		text := make([]byte, 9)
		control1(t, s, func(fd int) error {
			n, err := unix.Read(fd, text)
			text = text[:n]
			return err
		})
		if string(text) != "hello" {
			t.Errorf("%s: received %q", s, text)
		}
	}
}

func TestAnOpenedSocketIsCloseOnExecAndBlocking(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	for _, s := range mustOpen(t, "127.0.0.1:0", "127.0.0.1:0?backlog=3", "udp::127.0.0.1:0", dir+"/s", "unixgram::"+dir+"/d") {
		control1(t, s, func(fd int) error {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			status, serr := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
			if flags&unix.FD_CLOEXEC == 0 || status&unix.O_NONBLOCK != 0 {
				t.Errorf("%s: descriptor flags %#x, status flags %#x", s, flags, status)
			}
			return errors.Join(err, serr)
		})
	}
}

func TestOptionsAreSet(t *testing.T) {
	t.Parallel()
	with, without := "127.0.0.1:0?reuseport&keepalive", "127.0.0.1:0"
	for i, s := range mustOpen(t, without, with) {
		wantOption(t, s, "SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, i)
		wantOption(t, s, "SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, i)
		wantOption(t, s, "SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	six, err := Open(t.Context(), parse(t, "[::]:0?v6only", "[::]:0"))
	if err != nil {
		t.Logf("no IPv6 here: %v", err)
		return
	}
	for i, s := range six {
		wantOption(t, s, "IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1-i)
		s.Close()
	}
}

func TestThePathHasItsModeWhateverTheUmask(t *testing.T) { // the umask is the process's: not in parallel
	for _, umask := range []int{0, 0o022, 0o777} {
		old := syscall.Umask(umask)
		dir := folder(t)
		syscall.Chmod(dir, 0o700)
		for _, s := range mustOpen(t, dir+"/a?mode=0660", "unixgram::"+dir+"/b?mode=0606") {
			info, err := os.Stat(s.Addr.String())
			if err != nil || info.Mode().Perm() != s.Spec.Options.Mode {
				t.Errorf("umask %03o: %s has mode %v, %v", umask, s, info.Mode().Perm(), err)
			}
		}
		syscall.Umask(old)
	}
}

func TestThePathHasItsOwner(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := folder(t)
	for _, s := range mustOpen(t, dir+"/a?owner=daemon&group=4321", dir+"/b?owner=1234", dir+"/c?group=daemon") {
		info, err := os.Stat(s.Addr.String())
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		want := map[string][2]uint32{"a": {1, 4321}, "b": {1234, uint32(os.Getgid())}, "c": {0, 1}}[filepath.Base(info.Name())]
		if st.Uid != want[0] || st.Gid != want[1] {
			t.Errorf("%s belongs to %d:%d, want %v", s, st.Uid, st.Gid, want)
		}
	}
}

func TestARelativePathStaysRightAfterAChangeOfTheFolder(t *testing.T) {
	t.Chdir(folder(t)) // the process's: not in parallel
	s := mustOpen(t, "./s")[0]
	t.Chdir("/")
	c, err := net.Dial("unix", s.Addr.String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestOnlyAStaleSocketIsReplaced(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	path := dir + "/s"
	first := mustOpen(t, path)[0]
	if _, err := Open(t.Context(), parse(t, path)); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("a live one: %v", err)
	}
	first.Close()
	second := mustOpen(t, path)[0]
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("a stale one stayed: %v", err)
	} else {
		c.Close()
	}
	second.Discard()

	precious := dir + "/precious"
	if err := errors.Join(os.WriteFile(precious, []byte("mine"), 0o600), os.Symlink(precious, path)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{path, precious, dir} {
		if _, err := Open(t.Context(), parse(t, path+"?mode=0777")); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "is no socket") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if info, err := os.Stat(precious); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has changed: %v, %v", info, err)
	}
}

func TestWhenTheSecondOfThreeFailsNothingIsLeftBehind(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	for _, wrong := range []string{taken.Addr().String(), dir + "/none/s", dir + "/w?owner=no-such-user", dir + "/w?group=no-such-group", "fd::987654"} {
		_, err := Open(t.Context(), parse(t, dir+"/a", "unixgram::"+dir+"/d", free.Addr().String(), wrong, dir+"/c"))
		if err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("the error is %v, want it to name %s", err, wrong)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("left behind after %v: %v", err, left)
		}
		again, err := net.Listen("tcp", free.Addr().String())
		if err != nil {
			t.Fatalf("the first socket is still open: %v", err)
		}
		again.Close()
	}
}

func TestDiscardLeavesWhatIsSomebodyElses(t *testing.T) {
	t.Parallel()
	path := folder(t) + "/s"
	s := mustOpen(t, path)[0]
	if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte("mine"), 0o600), s.Discard()); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); string(text) != "mine" {
		t.Errorf("the file says %q, %v", text, err)
	}
}

func TestAPassedDescriptorIsTaken(t *testing.T) {
	t.Parallel()
	var pipe [2]int
	if err := unix.Pipe(pipe[:]); err != nil { // not close-on-exec
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	s := mustOpen(t, "w=fd::"+strconv.Itoa(pipe[1]))[0]
	control1(t, s, func(fd int) error {
		_, err := unix.Write(fd, []byte("hello"))
		return err
	})
	text := make([]byte, 5)
	if _, err := unix.Read(pipe[0], text); err != nil || !bytes.Equal(text, []byte("hello")) {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := Open(t.Context(), parse(t, "fd::"+strconv.Itoa(pipe[1]))); err == nil || !strings.Contains(err.Error(), "was not passed") {
		t.Errorf("a descriptor of this process's own: %v", err)
	}
}
