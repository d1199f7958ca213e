//go:build linux

package receivers

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// A report is what a receiver says it was given: the rest of its lines by their
// first word.
type report map[string][]string

func parseReport(text string) report {
	r := report{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		r[key] = append(r[key], value)
	}
	return r
}

// ask sends one request to addr on a new connection, and returns the answer.
func ask(ctx context.Context, addr net.Addr) (string, error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, addr.Network(), addr.String())
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://receiver/", nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// reportFrom asks at addr until p answers. Its socket listens all along, so the
// answer to the first question says it, be it late.
func reportFrom(t *testing.T, p *proctest.Process, addr net.Addr) report {
	t.Helper()
	text := make(chan string, 1)
	failed := make(chan error, 1)
	go func() {
		body, err := ask(proctest.Context(t), addr)
		if err != nil {
			failed <- err
			return
		}
		text <- body
	}()
	select {
	case body := <-text:
		return parseReport(body)
	case err := <-failed:
		t.Fatalf("%s at %s: %v", p, addr, err)
	case <-p.Exited():
		t.Fatalf("%s has ended without an answer at %s", p, addr)
	}
	return nil
}

// inode names an open socket or pipe: the same in every process that has it.
func inode(t *testing.T, conn syscall.Conn) string {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var link string
	if cerr := raw.Control(func(fd uintptr) {
		link, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	}); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return link
}

// inodesOf returns what the process has open, by descriptor.
func inodesOf(t *testing.T, pid int) map[int]string {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	links := map[int]string{}
	for _, entry := range entries {
		link, err := os.Readlink(filepath.Join(dir, entry.Name()))
		fd, nerr := strconv.Atoi(entry.Name())
		if err == nil && nerr == nil { // else closed meanwhile
			links[fd] = link
		}
	}
	return links
}

// environmentOf returns what the program was executed with, as far as it concerns
// services. What a program changes in its environment later does not show.
func environmentOf(t *testing.T, pid int) (lines []string) {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		t.Fatal(err)
	}
	for entry := range strings.SplitSeq(string(data), "\x00") {
		for _, prefix := range []string{"LISTEN_", "HANDOFF_LINK", "HANDOFF_STAGE", "WATCHDOG_", "SYSTEMD_EXEC_PID="} {
			if strings.HasPrefix(entry, prefix) {
				lines = append(lines, entry)
			}
		}
	}
	return lines
}

func wantLines(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Clone(got), slices.Clone(want)
	if what == "env" || what == "fd" { // their order says nothing
		slices.Sort(got)
		slices.Sort(want)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: the receiver says %q, want %q", what, got, want)
	}
}
