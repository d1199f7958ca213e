package watcher

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// process is what /proc tells of one, proc_pid_stat(5).
type process struct {
	pid, parent, group, session, terminal int
	start                                 uint64 // in ticks
	name                                  string
}

// table looks up processes.
type table interface {
	process(pid int) (process, error)
	arguments(pid int) []string
	children(pid int) []process
	// machine tells whether the pids are those of the machine itself, and not of a
	// namespace below.
	machine() bool
}

// supervisors start what they have started anew when it ends. comm has 15 characters.
var supervisors = names("runsv s6-supervise supervise supervise-daemo supervisord perpd circusd dinit")

// inits end with the process that they have started.
var inits = names("tini tini-static docker-init podman-init dumb-init catatonit")

// shells, and programs that end with their child as well.
var (
	shells  = names("sh bash dash ash ksh mksh zsh fish busybox")
	passing = names("sudo su runuser doas timeout flock setsid unshare strace bwrap")
)

func names(text string) map[string]bool {
	set := make(map[string]bool)
	for name := range strings.FieldsSeq(text) {
		set[name] = true
	}
	return set
}

// Find names the process by whose decision the service ends when this process does.
// heldByHandoff: the process above is a holder of `handoff run`, which can be told.
func Find(heldByHandoff bool) (name string, found bool) {
	return find(procfs{}, os.Getpid(), heldByHandoff)
}

// mostParents bounds the walk, as processes change while they are read.
const mostParents = 64

func find(t table, pid int, held bool) (string, bool) {
	p, err := t.process(pid)
	for range mostParents {
		if err != nil || p.parent <= 0 {
			return "", false // started from outside, as by docker exec
		}
		var above process
		if above, err = t.process(p.parent); err != nil {
			return "", false
		}
		name := above.name
		if strings.HasPrefix(name, "python") {
			name = script(t.arguments(above.pid))
		}
		switch {
		case shells[name] && above.terminal != 0 && p.group != above.group && p.session == above.session:
			return "", false // a person's: job control, see setpgid(2)
		case supervisors[name]:
			// One that is PID 1 adopts what it has not started. That has another session.
			return name, above.pid != 1 || p.session == above.session
		case inits[name]:
			return name, oldest(t, p)
		case above.pid == 1 && (t.machine() || name == "systemd" || held):
			return "", false
		case above.pid == 1:
			return fmt.Sprintf("PID 1 of the container (%s)", name), oldest(t, p)
		case !shells[name] && !passing[name]:
			return "", false
		}
		p = above
	}
	return "", false
}

// script is the name of the program that an interpreter runs.
func script(arguments []string) string {
	for i, arg := range arguments {
		if i > 0 && !strings.HasPrefix(arg, "-") {
			return filepath.Base(arg)
		}
	}
	return ""
}

// oldest tells whether p is its parent's first child: an init starts that one, and ends with
// it. It adopts others, which are younger.
func oldest(t table, p process) bool {
	for _, other := range t.children(p.parent) {
		if other.start < p.start || other.start == p.start && other.pid < p.pid {
			return false
		}
	}
	return true
}

// procfs is the table of this system.
type procfs struct{}

func (procfs) process(pid int) (process, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, err
	}
	return parseStat(pid, stat)
}

func parseStat(pid int, stat []byte) (process, error) {
	p := process{pid: pid}
	begin, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if begin < 0 || end < begin {
		return p, fmt.Errorf("no name in %q", stat)
	}
	p.name = string(stat[begin+1 : end])
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) < 20 {
		return p, fmt.Errorf("too few fields in %q", stat)
	}
	for i, field := range map[int]*int{1: &p.parent, 2: &p.group, 3: &p.session, 4: &p.terminal} {
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			return p, err
		}
		*field = n
	}
	var err error
	p.start, err = strconv.ParseUint(fields[19], 10, 64)
	return p, err
}

func (procfs) arguments(pid int) []string {
	text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	return strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")
}

func (t procfs) children(pid int) (all []process) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			if p, err := t.process(n); err == nil && p.parent == pid {
				all = append(all, p)
			}
		}
	}
	return all
}

// machine knows the first pid namespace by its inode, PID_NS_INIT_INO of linux/nsfs.h.
func (procfs) machine() bool {
	link, err := os.Readlink("/proc/self/ns/pid")
	return err == nil && link == "pid:[4026531836]"
}
