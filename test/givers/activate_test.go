//go:build linux

package givers

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// activate starts systemd-socket-activate with the service behind it. Of the
// environment the service gets only what -E names.
func activate(t *testing.T, args ...string) *proctest.Process {
	t.Helper()
	program := proctest.RequireTool(t, "systemd-socket-activate")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args = append(slices.Clone(args), "-E", serviceVariable+"=1", "-E", "GORACE=atexit_sleep_ms=0", self)
	return proctest.Start(t, proctest.Command(program, args...))
}

// ask asks for the report, until the giver has begun to listen.
func ask(t *testing.T, p *proctest.Process, network, addr string) (lines []string) {
	t.Helper()
	var conn net.Conn
	p.Until("a socket at "+addr, func() (err error) {
		conn, err = net.Dial(network, addr)
		return err
	})
	defer conn.Close()
	conn.SetDeadline(proctest.Deadline(t))
	if _, err := fmt.Fprintln(conn, "what were you given?"); err != nil {
		t.Fatal(err)
	}
	for s := bufio.NewScanner(conn); s.Scan(); {
		if s.Text() == "." {
			return lines
		}
		lines = append(lines, s.Text())
	}
	t.Fatalf("the answer at %s is not complete: %q", addr, lines)
	return nil
}

func address(t *testing.T) string { return fmt.Sprintf("127.0.0.1:%d", proctest.FreePort(t)) }

func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "handoff") // t.TempDir may be too long for an address
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "socket")
}

func wantReport(t *testing.T, p *proctest.Process, got []string, inherited ...string) {
	t.Helper()
	want := []string{fmt.Sprintf("pid: %d", p.Pid())}
	for _, line := range inherited {
		want = append(want, "inherited: "+line)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the service says\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAListenerOfSystemdSocketActivateIsInheritedByItsName(t *testing.T) {
	t.Parallel()
	addr := address(t)
	p := activate(t, "-l", addr, "--fdname=http")
	for range 2 { // the first starts the service
		wantReport(t, p, ask(t, p, "tcp", addr), `"http" TCP listener`)
	}
	p.Stop(syscall.SIGTERM)
}

func TestListenersOfSeveralKindsAreInheritedInTheirOrder(t *testing.T) {
	t.Parallel()
	addr, path := address(t), socketPath(t)
	p := activate(t, "-l", addr, "-l", path, "--fdname=http:control")
	for range 2 {
		wantReport(t, p, ask(t, p, "tcp", addr), `"http" TCP listener`, `"control" unix stream listener`)
		wantReport(t, p, ask(t, p, "unix", path), `"http" TCP listener`, `"control" unix stream listener`)
	}
	p.Stop(syscall.SIGTERM)
}

func TestWithoutNamesEveryDescriptorIsNamedUnknown(t *testing.T) {
	t.Parallel()
	addr, path := address(t), socketPath(t)
	p := activate(t, "-l", addr, "-l", path)
	wantReport(t, p, ask(t, p, "tcp", addr), `"unknown" TCP listener`, `"unknown" unix stream listener`)
	p.Stop(syscall.SIGTERM)
}

func TestADatagramSocketIsInheritedWithTheDatagramThatStartedTheService(t *testing.T) {
	t.Parallel()
	addr := address(t)
	p := activate(t, "-d", "-l", addr, "--fdname=dns")
	var lines []string
	p.Until("an answer to a datagram", func() error { // before the socket exists they are lost
		conn, err := net.Dial("udp", addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		conn.SetDeadline(proctest.Deadline(t))
		if _, err := fmt.Fprintln(conn, "what were you given?"); err != nil {
			return err
		}
		buf := make([]byte, 4096)
		n, err := conn.Read(buf)
		lines = strings.Split(strings.TrimSuffix(string(buf[:n]), "\n.\n"), "\n")
		return err
	})
	wantReport(t, p, lines, `"dns" UDP socket`)
	p.Stop(syscall.SIGTERM)
}

func TestAnAcceptedConnectionIsInherited(t *testing.T) {
	t.Parallel()
	addr := address(t)
	p := activate(t, "-a", "-l", addr)
	for range 2 { // a service each
		lines := ask(t, p, "tcp", addr)
		if len(lines) != 2 || lines[1] != `inherited: "unknown" connected TCP socket` {
			t.Fatalf("the service says %q", lines)
		}
		ended := strings.TrimPrefix(lines[0], "pid: ")
		p.Until("the service's end", func() error {
			if line := "Child " + ended + " died with code 0\n"; !strings.Contains(p.Output(), line) {
				return fmt.Errorf("there is no line %q", line)
			}
			return nil
		})
	}
	p.Stop(syscall.SIGTERM)
}

// systemd-socket-activate passes on as many names as it was told, be there more
// sockets or fewer.
func TestAWrongNumberOfNamesIsAnErrorThatNamesTheVariable(t *testing.T) {
	t.Parallel()
	addr, path := address(t), socketPath(t)
	p := activate(t, "-l", addr, "-l", path, "-l", path+"2", "--fdname=http:control")
	p.Until("a socket at "+addr, func() error {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err
	})
	if err := p.Wait(); err == nil {
		t.Error("the service has ended without an error")
	}
	if out := p.Output(); !strings.Contains(out, "variable: LISTEN_FDNAMES\n") {
		t.Errorf("the service says %q", out)
	}
}
