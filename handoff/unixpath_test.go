//go:build unix

package handoff

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/unixpath"
	"golang.org/x/sys/unix"
)

// staleSocket makes the file of a socket that nobody has open.
func staleSocket(t *testing.T, network string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	makeStale(t, network, path)
	return path
}

func makeStale(t *testing.T, network, path string) {
	t.Helper()
	unix.Close(listeningUnix(t, network, path))
	// A child that another test has forked has it until its exec.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		conn, err := net.Dial(network, path)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		if err == nil {
			conn.Close()
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not become stale: %v", path, err)
		}
	}
}

// listeningUnix returns a socket of any type that is bound to path.
func listeningUnix(t *testing.T, network, path string) int {
	t.Helper()
	if network != "unixgram" {
		return unixFD(t, network, path)
	}
	c, err := net.ListenPacket(network, path)
	if err != nil {
		t.Fatal(err)
	}
	return dupOf(t, c)
}

// bindAt listens as a program does.
func bindAt(u *Upgrader, network, path string) (io.Closer, error) {
	if network == "unixgram" {
		return u.ListenPacket("s", network, path)
	}
	return u.Listen("s", network, path)
}

func TestAStaleSocketIsReplaced(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"unix", "unixgram"} {
		for _, old := range []string{"unix", "unixgram"} {
			path := staleSocket(t, old)
			u := newUpgrader(t, Options{})
			if _, err := bindAt(u, network, path); err != nil {
				t.Errorf("%s in place of %s: %v", network, old, err)
				continue
			}
			conn, err := net.Dial(network, path)
			if err != nil {
				t.Errorf("%s in place of %s: %v", network, old, err)
				continue
			}
			conn.Close()
			if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
				t.Errorf("left behind: %v, %v", entries, err)
			}
		}
	}
}

func TestALiveSocketIsNeverReplaced(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"unix", "unixgram"} {
		for _, other := range []string{"unix", "unixgram"} {
			path := filepath.Join(t.TempDir(), "s")
			fd := listeningUnix(t, other, path)
			defer unix.Close(fd)
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			u := newUpgrader(t, Options{})
			if _, err := bindAt(u, network, path); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s in place of a live %s: %v, want EADDRINUSE with the path", network, other, err)
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("%s in place of a live %s: the file has changed: %v", network, other, err)
			}
		}
	}
}

func TestALiveSocketWithAFullQueueIsNotReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	fd := socketFD(t, unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for {
		c := socketFD(t, unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err := unix.SetNonblock(c, true); err != nil {
			t.Fatal(err)
		}
		if err := unix.Connect(c, &unix.SockaddrUnix{Name: path}); err != nil {
			if err != unix.EAGAIN {
				t.Skipf("this system says %v of a full queue, which can't be told from a dead socket", err)
			}
			break
		}
	}
	if _, err := newUpgrader(t, Options{}).Listen("s", "unix", path); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNoSocketIsNeverReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stale := staleSocket(t, "unix")
	file, folder, link := filepath.Join(dir, "file"), filepath.Join(dir, "folder"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, []byte("precious"), 0o600), os.Mkdir(folder, 0o700), os.Symlink(stale, link)); err != nil {
		t.Fatal(err)
	}
	u := newUpgrader(t, Options{})
	for _, path := range []string{file, folder, link} {
		if _, err := u.Listen("s", "unix", path); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "no socket") {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	}
	if text, err := os.ReadFile(file); string(text) != "precious" {
		t.Errorf("the file says %q, %v", text, err)
	}
}

// In a child the variable names a path; see the race below.
const unixPathVariable = "TEST_UNIXPATH"

func init() {
	path := os.Getenv(unixPathVariable)
	if path == "" {
		return
	}
	u, err := New(Options{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("here")
	in := bufio.NewReader(os.Stdin)
	in.ReadString('\n') // the starting shot
	if _, err := u.Listen("s", "unix", path); err != nil {
		fmt.Println("lost:", err)
	} else {
		fmt.Println("won")
	}
	in.ReadString('\n')
	os.Exit(0)
}

// starter is a process that waits to bind a path.
type starter struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func newStarter(t *testing.T, path string, change func(*exec.Cmd)) *starter {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &starter{cmd: exec.Command(self)}
	s.cmd.Env = append(os.Environ(), unixPathVariable+"="+path, "GORACE=atexit_sleep_ms=0")
	if change != nil {
		change(s.cmd)
	}
	s.in, err = s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.out = bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.in.Close(); s.cmd.Process.Kill(); s.cmd.Wait() })
	if line, err := s.out.ReadString('\n'); line != "here\n" {
		t.Fatalf("a child says %q, %v", line, err)
	}
	return s
}

func TestNobodyTakesASocketThatIsBeingBoundForAStaleOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 200 {
		path := filepath.Join(dir, fmt.Sprint(i))
		if i%2 == 0 {
			makeStale(t, "unix", path)
		}
		won := make(chan net.Listener, 3)
		var starters sync.WaitGroup
		for range cap(won) {
			starters.Go(func() {
				if ln, err := bindUnix(t.Context(), &shared{}, "unix", path, new(net.ListenConfig).Listen); err == nil {
					ln.(*net.UnixListener).SetUnlinkOnClose(false)
					won <- ln
				}
			})
		}
		starters.Wait()
		if len(won) != 1 {
			t.Fatalf("%d have the path", len(won))
		}
		if conn, err := net.Dial("unix", path); err != nil {
			t.Fatal(err)
		} else {
			conn.Close()
		}
		(<-won).Close()
	}
}

func TestALockThatSomebodyHoldsIsNotWaitedForWithoutEnd(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	defer unixpath.Lock(path)()
	if _, err := newUpgrader(t, Options{}).Listen("s", "unix", path); err != nil {
		t.Error(err)
	}
}

func TestOfSeveralStartersOneGetsThePathAndKeepsIt(t *testing.T) {
	t.Parallel()
	for i := range 15 {
		path := filepath.Join(t.TempDir(), "s")
		if i%2 == 0 {
			path = staleSocket(t, "unix")
		}
		var starters []*starter
		for range 3 {
			starters = append(starters, newStarter(t, path, nil))
		}
		for _, s := range starters {
			io.WriteString(s.in, "go\n")
		}
		won := 0
		var said []string
		for _, s := range starters {
			line, _ := s.out.ReadString('\n')
			said = append(said, line)
			if line == "won\n" {
				won++
			}
		}
		if won != 1 {
			t.Errorf("%d of %d have the path: %q", won, len(starters), said)
		}
		if conn, err := net.Dial("unix", path); err != nil {
			t.Errorf("nobody is there: %v; %q", err, said)
		} else {
			conn.Close()
		}
		for _, s := range starters {
			s.in.Close()
		}
	}
}

func TestASocketThatMayNotBeTriedIsNotReplaced(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can start a process that is not allowed to connect")
	}
	// World-writable all the way down, so that nothing but the socket forbids.
	dir, err := os.MkdirTemp("/tmp", "handoff-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	fd := unixFD(t, "unix", path)
	if err := errors.Join(os.Chmod(dir, 0o777), os.Chmod(path, 0)); err != nil {
		t.Fatal(err)
	}
	unix.Close(fd) // even though it is stale: who can't try can't know
	s := newStarter(t, path, func(cmd *exec.Cmd) {
		copied := filepath.Join(dir, "program")
		data, err := os.ReadFile(cmd.Path)
		if err == nil {
			err = os.WriteFile(copied, data, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
		cmd.Path, cmd.Dir = copied, dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	})
	io.WriteString(s.in, "go\n")
	if line, err := s.out.ReadString('\n'); !strings.Contains(line, "permission denied") {
		t.Errorf("the child says %q, %v", line, err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

func TestOnlyTheLastGenerationRemovesTheFile(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		sentence string
		end      func(*testing.T, *Upgrader, net.Listener)
		stays    bool
	}{
		{"the service stops", func(t *testing.T, u *Upgrader, _ net.Listener) { u.Stop(); <-u.Draining() }, false},
		{"the program closes it", func(_ *testing.T, _ *Upgrader, ln net.Listener) { ln.Close() }, false},
		{"the generation ends", func(_ *testing.T, u *Upgrader, _ net.Listener) { u.Close() }, false},
		{"the successor has it", func(t *testing.T, u *Upgrader, _ net.Listener) {
			files, _, err := u.exports()
			if err != nil {
				t.Fatal(err)
			}
			closeAll(files)
			u.mu.Lock()
			u.main = false // as commit does
			u.mu.Unlock()
			handOver(u)
			<-u.Draining()
			u.Close()
		}, true},
		{"another file is there", func(t *testing.T, u *Upgrader, ln net.Listener) {
			path := ln.Addr().String()
			if err := errors.Join(os.Rename(path, path+".old"), os.WriteFile(path, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
			u.Close()
		}, true},
	} {
		path := filepath.Join(t.TempDir(), "s")
		u := newUpgrader(t, Options{})
		ln, err := u.Listen("s", "unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if err := u.Ready(); err != nil {
			t.Fatal(err)
		}
		tc.end(t, u, ln)
		if _, err := os.Lstat(path); (err == nil) != tc.stays {
			t.Errorf("%s: the file stays: %v, want %v", tc.sentence, err == nil, tc.stays)
		}
	}
}

func TestTheFileOfASocketFromOutsideStays(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	u := heir(t, nil, named{"s", unixFD(t, "unix", path)})
	if _, err := u.Listen("s", "unix", path); err != nil {
		t.Fatal(err)
	}
	if err := u.Ready(); err != nil {
		t.Fatal(err)
	}
	u.Stop()
	<-u.Draining()
	u.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

func TestAnInheritedSocketOfOursIsRemovedInTheEnd(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	fd := unixFD(t, "unix", path)
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	o := origin{Ours: true, Network: "unix", Address: path, Path: path}
	o.Device, o.Inode = fileID(info)
	u := heir(t, []origin{o}, named{"s", fd})
	if _, err := u.Listen("s", "unix", path); err != nil {
		t.Fatal(err)
	}
	if err := u.Ready(); err != nil {
		t.Fatal(err)
	}
	u.Close()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestAServiceThatFailsToStartLeavesNoSocketBehind(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	u := newUpgrader(t, Options{})
	if _, err := u.Listen("s", "unix", path); err != nil {
		t.Fatal(err)
	}
	u.Close() // never ready
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestAProgramThatClosesASocketBeforeItIsReadyLeavesNoFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := newUpgrader(t, Options{}).Listen("s", "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestASuccessorThatFailsToStartLeavesItsPredecessorsSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	fd := unixFD(t, "unix", path)
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	o := origin{Ours: true, Network: "unix", Address: path, Path: path}
	o.Device, o.Inode = fileID(info)
	for _, end := range []func(*Upgrader, net.Listener){
		func(u *Upgrader, _ net.Listener) { u.Close() },
		func(_ *Upgrader, ln net.Listener) { ln.Close() },
	} {
		again, err := unix.Dup(fd)
		if err != nil {
			t.Fatal(err)
		}
		u := heir(t, []origin{o}, named{"s", again})
		u.machine.awaiting = true
		ln, err := u.Listen("s", "unix", path)
		if err != nil {
			t.Fatal(err)
		}
		end(u, ln)
		if _, err := os.Lstat(path); err != nil {
			t.Fatal(err)
		}
	}
	unix.Close(fd)
}

func TestAGenerationThatEndsBesideItsSuccessorLeavesItTheFile(t *testing.T) {
	t.Parallel()
	path, pid := filepath.Join(t.TempDir(), "s"), filepath.Join(t.TempDir(), "pid")
	u := newUpgrader(t, Options{PIDFile: pid})
	if _, err := u.Listen("s", "unix", path); err != nil {
		t.Fatal(err)
	}
	if err := u.Ready(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	u.post(occurrence{run: func() {
		files, _, err := u.exports()
		if err != nil {
			t.Error(err)
		}
		closeAll(files)
		u.machine.phase = phaseProbation
		close(done)
	}})
	<-done
	u.Close() // the program has come to an end that it did not plan
	for _, file := range []string{path, pid} {
		if _, err := os.Lstat(file); err != nil {
			t.Error(err)
		}
	}
}

func TestWhatIsNoStaleSocketIsPutBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	aside, path := filepath.Join(dir, "aside"), filepath.Join(dir, "path")
	// A directory, which can't be linked, stands for all that can't be.
	if err := errors.Join(os.Mkdir(aside, 0o755), unixpath.PutBack(aside, path)); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		t.Errorf("it is not back: %v", err)
	}
	if err := errors.Join(os.WriteFile(aside, []byte("older"), 0o600), os.Remove(path), os.WriteFile(path, []byte("newer"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := unixpath.PutBack(aside, path); !errors.Is(err, os.ErrExist) {
		t.Errorf("in the way of another: %v", err)
	}
	if text, err := os.ReadFile(path); string(text) != "newer" {
		t.Errorf("what had appeared there is %q, %v", text, err)
	}
	if _, err := os.Lstat(aside); !os.IsNotExist(err) {
		t.Errorf("left behind: %v", err)
	}
}

func TestOnlyASocketIsRemovedWhateverThePredecessorSays(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{})
	path := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	o := origin{Ours: true, Path: path}
	o.Device, o.Inode = fileID(info)
	u.unlink(o)
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}
