//go:build linux

package receivers

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// A broken is a next version that can't be executed, as deployments go wrong.
type broken struct {
	name  string
	errno syscall.Errno
	make  func(t *testing.T, path string)
}

// write holds off forks by parallel tests: a child that has the file open for writing,
// until it executes something else, would turn the errno into ETXTBSY.
func write(t *testing.T, path string, data []byte, mode os.FileMode) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, data, mode); err != nil {
		t.Fatal(err)
	}
}

// changed writes a copy of a real program with one of its parts replaced.
func changed(t *testing.T, path string, change func(elf []byte) []byte) {
	t.Helper()
	elf, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, change(elf), 0o755)
}

var brokens = []broken{
	{"missing", syscall.ENOENT, func(*testing.T, string) {}},
	{"below a file", syscall.ENOTDIR, func(t *testing.T, path string) {
		write(t, filepath.Dir(path), nil, 0o755)
	}},
	{"not executable", syscall.EACCES, func(t *testing.T, path string) {
		changed(t, path, func(elf []byte) []byte { return elf })
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
	}},
	{"a directory", syscall.EACCES, func(t *testing.T, path string) {
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}},
	{"a link to itself", syscall.ELOOP, func(t *testing.T, path string) {
		if err := os.Symlink(path, path); err != nil {
			t.Fatal(err)
		}
	}},
	{"empty", syscall.ENOEXEC, func(t *testing.T, path string) { write(t, path, nil, 0o755) }},
	{"truncated", syscall.ENOEXEC, func(t *testing.T, path string) {
		changed(t, path, func(elf []byte) []byte { return elf[:100] })
	}},
	{"not a program", syscall.ENOEXEC, func(t *testing.T, path string) {
		write(t, path, []byte("<html>404 not found</html>\n"), 0o755)
	}},
	{"of another architecture", syscall.ENOEXEC, func(t *testing.T, path string) {
		changed(t, path, func(elf []byte) []byte {
			elf[18], elf[19] = 0xed, 0xfe // e_machine: nobody's, so that no emulator is registered for it
			return elf
		})
	}},
	{"a script whose interpreter is missing", syscall.ENOENT, func(t *testing.T, path string) {
		write(t, path, []byte("#!/no/such/interpreter\n"), 0o755)
	}},
	{"linked with a missing loader", syscall.ENOENT, func(t *testing.T, path string) {
		changed(t, path, func(elf []byte) []byte { // as a program for musl on glibc
			loader := []byte("/ld-linux")
			if !bytes.Contains(elf, loader) {
				t.Skip("/bin/true is linked statically here")
			}
			return bytes.Replace(elf, loader, []byte("/no-linux"), 1)
		})
	}},
}

func TestAProgramThatCannotBeExecutedIsReportedByItsPathAndErrno(t *testing.T) {
	t.Parallel()
	for _, b := range brokens {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "v2", "server")
			if b.errno != syscall.ENOTDIR {
				if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			b.make(t, path)
			ln := listenTCP(t)
			cmd := exec.Command(path)
			err := handoff.Export(cmd, handoff.File{Name: "http", Conn: ln})
			var pathError *fs.PathError
			if !errors.As(err, &pathError) {
				if err == nil {
					cmd.Process.Kill()
					cmd.Wait()
				}
				t.Fatalf("error %v (%T), want a *fs.PathError", err, err)
			}
			if pathError.Path != path || pathError.Err != b.errno {
				t.Errorf("error %v: path %s, errno %v, want %s and %v", err, pathError.Path, pathError.Err, path, b.errno)
			}
			if cmd.Process != nil && cmd.ProcessState == nil {
				t.Error("a process was left behind that nobody has waited for")
			}
			stillServes(t, ln)
		})
	}
}

func TestAnArgumentListThatIsTooLongIsReportedAsE2BIG(t *testing.T) {
	t.Parallel()
	ln := listenTCP(t)
	cmd := exec.Command("/bin/true", strings.Repeat("x", 1<<20))
	err := handoff.Export(cmd, handoff.File{Name: "http", Conn: ln})
	var pathError *fs.PathError
	if !errors.As(err, &pathError) || pathError.Err != syscall.E2BIG {
		t.Errorf("error %v, want a *fs.PathError with E2BIG", err)
	}
	stillServes(t, ln)
}

func TestAFailedExportDisturbsNoAcceptThatWaits(t *testing.T) {
	t.Parallel()
	ln := listenTCP(t)
	ended := make(chan error, 1)
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			conn.Close()
		}
		ended <- err
	}()
	if err := handoff.Export(exec.Command("/no/such/program"), handoff.File{Name: "http", Conn: ln}); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("error %v, want ErrNotExist", err)
	}
	select {
	case err := <-ended:
		t.Fatalf("Accept has returned: %v", err)
	default:
	}
	// On a socket that has become a blocking one Close would not interrupt Accept, and
	// wait for it; a connection ends that.
	t.Cleanup(func() {
		if conn, err := net.Dial("tcp", ln.Addr().String()); err == nil {
			conn.Close()
		}
	})
	wantNonblocking(t, ln)
	go ln.Close()
	select {
	case err := <-ended:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept returned %v, want ErrClosed", err)
		}
	case <-proctest.Context(t).Done():
		t.Fatal("Accept was not interrupted by Close")
	}
}

// stillServes fails t unless ln is as it was: non-blocking, interruptible, accepting.
func stillServes(t *testing.T, ln *net.TCPListener) {
	t.Helper()
	wantNonblocking(t, ln)
	ln.SetDeadline(time.Now().Add(-time.Second))
	if _, err := ln.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Accept after its deadline: %v", err)
	}
	ln.SetDeadline(proctest.Deadline(t))
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := ln.Accept()
	if err != nil {
		t.Fatalf("Accept: %v", err)
	}
	conn.Close()
}

func wantNonblocking(t *testing.T, ln *net.TCPListener) {
	t.Helper()
	raw, err := ln.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var flags uintptr
	var errno syscall.Errno
	if err := raw.Control(func(fd uintptr) { flags, _, errno = syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFL, 0) }); err != nil || errno != 0 {
		t.Fatal(err, errno)
	}
	if flags&syscall.O_NONBLOCK == 0 {
		t.Fatal("the listener has become a blocking one")
	}
}
