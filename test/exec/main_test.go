package exec

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

func binary(t *testing.T) string {
	t.Helper()
	return proctest.Build(t, proctest.Program{Package: "github.com/handoff-dev/handoff/cmd/handoff", Race: raceEnabled})
}

// handoff returns the command with these words after its name.
func handoff(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return proctest.Command(binary(t), args...)
}

// folder has a path that is short enough for a socket in it.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "exec")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func address(t *testing.T) string { return fmt.Sprintf("127.0.0.1:%d", proctest.FreePort(t)) }

// became waits until the process is the program of that name.
func became(t *testing.T, p *proctest.Process, name string) {
	t.Helper()
	p.Until("it is "+name, func() error {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p.Pid()))
		if err == nil && strings.TrimSpace(string(comm)) != name {
			err = fmt.Errorf("it is %q", comm)
		}
		// The name comes a little before the environment.
		if environ, eerr := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.Pid())); err == nil && len(environ) == 0 {
			err = errors.Join(eerr, errors.New("it has no environment yet"))
		}
		return err
	})
}

// descriptors are what the process has open, such as "socket:[123]", by number.
func descriptors(t *testing.T, pid int) map[int]string {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[int]string{}
	for _, e := range entries {
		n, _ := strconv.Atoi(e.Name())
		if link, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			all[n] = link
		}
	}
	return all
}

// wantSockets waits until the process has n sockets and nothing else above 2: while it
// starts it reads libraries.
func wantSockets(t *testing.T, p *proctest.Process, pid, first, n int) {
	t.Helper()
	var want []string
	for i := range n {
		want = append(want, fmt.Sprintf("%d socket:", first+i))
	}
	slices.Sort(want)
	p.Until("its descriptors are right", func() error {
		var got []string
		for fd, link := range descriptors(t, pid) {
			if fd > 2 {
				kind, _, _ := strings.Cut(link, "[")
				got = append(got, fmt.Sprintf("%d %s", fd, kind))
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			return fmt.Errorf("above 2 there are the descriptors %q, want %q", got, want)
		}
		return nil
	})
}

// environment is what the program was executed with, as far as it has one of the
// prefixes, in order.
func environment(t *testing.T, pid int, prefixes ...string) (lines []string) {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		t.Fatal(err)
	}
	for entry := range strings.SplitSeq(string(data), "\x00") {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(entry, p) }) {
			lines = append(lines, entry)
		}
	}
	slices.Sort(lines)
	return lines
}

func wantLines(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// dial connects until somebody listens.
func dial(t *testing.T, p *proctest.Process, network, addr string) net.Conn {
	t.Helper()
	var conn net.Conn
	p.Until("a listener at "+addr, func() (err error) {
		conn, err = net.Dial(network, addr)
		return err
	})
	conn.SetDeadline(proctest.Deadline(t))
	t.Cleanup(func() { conn.Close() })
	return conn
}

// lines reads until the other end closes.
func lines(t *testing.T, conn net.Conn) (all []string) {
	t.Helper()
	s := bufio.NewScanner(conn)
	for s.Scan() {
		all = append(all, s.Text())
	}
	if s.Err() != nil {
		t.Error(s.Err())
	}
	return all
}
