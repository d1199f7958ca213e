package systemd

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sockets are the inode numbers of the service's sockets, by address.
type sockets map[string]string

// sockets returns those that are bound in the box to addresses of this test. It fails the
// test when two are bound to one: somebody would have opened it anew.
func (s service) sockets() sockets {
	s.t.Helper()
	found := sockets{}
	add := func(address, inode string) {
		if other, ok := found[address]; ok {
			s.t.Errorf("two sockets listen on %s: inodes %s and %s", address, other, inode)
		}
		found[address] = inode
	}
	for _, f := range s.netTable("tcp") {
		if f[1] == "0100007F:1F90" && f[3] == "0A" { // listens
			add(httpAddr, f[9])
		}
	}
	for _, f := range s.netTable("udp") {
		if f[1] == "0100007F:14E9" && f[3] == "07" { // not connected
			add(udpAddr, f[9])
		}
	}
	for _, f := range s.netTable("unix") {
		if len(f) == 8 && f[7] == unixPath && f[3] == "00010000" { // listens
			add(unixPath, f[6])
		}
	}
	return found
}

// netTable returns the lines of a table of sockets of the box's network.
func (s service) netTable(name string) (lines [][]string) {
	s.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", s.PID(), name))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		lines = append(lines, strings.Fields(line))
	}
	return lines[1:]
}

// holds tells which of the sockets a process has open; pid is one outside.
func (want sockets) holds(t testing.TB, pid int) sockets {
	t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	var open []string
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil {
			open = append(open, target)
		}
	}
	held := maps.Clone(want)
	maps.DeleteFunc(held, func(_, inode string) bool { return !slices.Contains(open, "socket:["+inode+"]") })
	return held
}

// same fails the test unless the sockets in the box are still these, held by the main
// process.
func (s service) same(want sockets) {
	s.t.Helper()
	if now := s.sockets(); !maps.Equal(now, want) {
		s.t.Fatalf("the sockets are %v, they were %v", now, want)
	}
	if held := want.holds(s.t, s.HostPID(unit)); !maps.Equal(held, want) {
		s.t.Fatalf("of the sockets %v the main process has only %v", want, held)
	}
}
