//go:build !small

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// adoptOrphans makes this process the parent of any descendant whose own
// parent has ended, in init's place, so that none can get lost.
func adoptOrphans() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl PR_SET_CHILD_SUBREAPER", err)
	}
	return nil
}

// relative is a process below this one.
type relative struct {
	pid    int
	child  bool // of this very process, so it can be reaped
	zombie bool
}

// relatives are all descendants. The demo starts nothing but its family.
func relatives() ([]relative, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	type process struct {
		parent int
		zombie bool
	}
	all := map[int]process{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		// The second field is a name in parentheses, in which anything may stand.
		var state string
		var parent int
		if _, err := fmt.Sscan(string(stat[bytes.LastIndexByte(stat, ')')+1:]), &state, &parent); err == nil {
			all[pid] = process{parent, state == "Z"}
		}
	}
	var found []relative
	self := os.Getpid()
	for pid, p := range all {
		up, depth := p.parent, 0
		for ; up != self && up > 1 && depth < len(all); depth++ {
			up = all[up].parent
		}
		if up == self {
			found = append(found, relative{pid, p.parent == self, p.zombie})
		}
	}
	return found, nil
}

func (f *family) signalAll(sig syscall.Signal) {
	rs, _ := relatives()
	for _, r := range rs {
		if !r.zombie {
			syscall.Kill(r.pid, sig)
		}
	}
}

// reap buries the generations that have ended, but for the newest: its pid must
// stay its own until it was signalled.
func (f *family) reap(newest int) {
	rs, _ := relatives()
	for _, r := range rs {
		if r.child && r.zombie && r.pid != newest {
			unix.Wait4(r.pid, nil, unix.WNOHANG|unix.WALL, nil)
		}
	}
}

// bury reaps all that have ended, and says whether none is left.
func (f *family) bury() bool {
	f.reap(0)
	rs, err := relatives()
	return err == nil && len(rs) == 0
}
