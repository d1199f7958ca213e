package sdbox

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// MainPID returns the process id, in the box, of a unit's main process; 0 if it has
// none.
func (b *Box) MainPID(unit string) int {
	b.t.Helper()
	pid, err := strconv.Atoi(b.Show(unit, "MainPID"))
	if err != nil {
		b.t.Fatal(err)
	}
	return pid
}

// HostPID returns the process id, outside, of a unit's main process.
func (b *Box) HostPID(unit string) int {
	b.t.Helper()
	return b.Outside(b.MainPID(unit))
}

// Outside returns the process id, outside, of the process that is pid in the box.
func (b *Box) Outside(pid int) int {
	b.t.Helper()
	for outside, inside := range b.processes(b.cgroup) {
		if inside == pid {
			return outside
		}
	}
	b.t.Fatalf("there is no process %d in the box", pid)
	return 0
}

// Processes returns the process ids, in the box, of a unit's processes.
func (b *Box) Processes(unit string) []int {
	pids := []int{}
	_ = filepath.WalkDir(b.cgroup, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == unit {
			for _, inside := range b.processes(path) {
				pids = append(pids, inside)
			}
		}
		return nil // what is gone by now has no processes
	})
	return pids
}

// processes returns the processes in a cgroup and those below, by their ids outside.
func (b *Box) processes(cgroup string) map[int]int {
	found := map[int]int{}
	_ = filepath.WalkDir(cgroup, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		data, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		for _, word := range strings.Fields(string(data)) {
			if outside, err := strconv.Atoi(word); err == nil {
				if inside, ok := insidePID(outside); ok {
					found[outside] = inside
				}
			}
		}
		return nil
	})
	return found
}

// insidePID returns the id of a process in the innermost of its pid namespaces.
func insidePID(pid int) (int, bool) {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(data)) {
		if ids, ok := strings.CutPrefix(line, "NSpid:"); ok {
			f := strings.Fields(ids)
			inside, err := strconv.Atoi(f[len(f)-1])
			return inside, err == nil
		}
	}
	return 0, false
}
