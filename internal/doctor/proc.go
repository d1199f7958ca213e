package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// process reads proc(5) of a process and of its children; nil if it has ended.
func (s System) process(pid int) *Process {
	all := s.parents()
	p, ok := s.one(pid)
	if !ok {
		return nil
	}
	if parent, ok := s.status(p.Parent); ok {
		p.ParentName = parent["Name"]
	}
	p.Env = s.environment(pid)
	if s.Root == "/" { // or it is no process of this machine
		p.PIDFDID = pidfdID(pid)
	}
	_, err := os.Lstat(s.proc(pid, "root", "proc", "self"))
	p.NoProc = errors.Is(err, os.ErrNotExist) && s.readable(pid, "root")
	p.GoneDir = s.goneDir(pid)
	for child, parent := range all {
		if c, ok := s.one(child); ok && parent == pid {
			p.Children = append(p.Children, *c)
		}
	}
	return p
}

func (s System) proc(pid int, elements ...string) string {
	return filepath.Join(append([]string{s.Root, "proc", strconv.Itoa(pid)}, elements...)...)
}

func (s System) readable(pid int, link string) bool {
	_, err := os.Stat(s.proc(pid, link))
	return err == nil
}

// parents are all processes with their parents.
func (s System) parents() map[int]int {
	parents := map[int]int{}
	entries, _ := os.ReadDir(filepath.Join(s.Root, "proc"))
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if status, ok := s.status(pid); ok {
			parents[pid], _ = strconv.Atoi(status["PPid"])
		}
	}
	return parents
}

// status reads /proc/PID/status.
func (s System) status(pid int) (map[string]string, bool) {
	text, err := os.ReadFile(s.proc(pid, "status"))
	if err != nil {
		return nil, false
	}
	status := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		status[name] = strings.TrimSpace(value)
	}
	return status, !strings.HasPrefix(status["State"], "Z")
}

func (s System) one(pid int) (*Process, bool) {
	status, ok := s.status(pid)
	if !ok {
		return nil, false
	}
	p := &Process{PID: pid, InnerPID: pid, Name: status["Name"], UID: -1, Listening: s.listening(pid)}
	p.Parent, _ = strconv.Atoi(status["PPid"])
	if uids := strings.Fields(status["Uid"]); len(uids) > 1 {
		if uid, err := strconv.Atoi(uids[1]); err == nil { // the effective one
			p.UID = uid
		}
	}
	if pids := strings.Fields(status["NSpid"]); len(pids) > 0 {
		if inner, err := strconv.Atoi(pids[len(pids)-1]); err == nil {
			p.InnerPID = inner
		}
	}
	return p, true
}

func (s System) environment(pid int) map[string]string {
	text, err := os.ReadFile(s.proc(pid, "environ"))
	if err != nil {
		return nil
	}
	env := map[string]string{}
	for _, entry := range strings.Split(string(text), "\x00") {
		if name, value, ok := strings.Cut(entry, "="); ok {
			env[name] = value
		}
	}
	return env
}

// listening counts the open sockets of a process that listen: TCP and unix ones,
// for of a UDP socket it can't be told. -1 if that may not be seen.
func (s System) listening(pid int) int {
	fds, err := os.ReadDir(s.proc(pid, "fd"))
	if err != nil {
		return -1
	}
	listeners := map[string]bool{}
	s.table(pid, "tcp", 3, "0A", 9, listeners)
	s.table(pid, "tcp6", 3, "0A", 9, listeners)
	s.table(pid, "unix", 3, "00010000", 6, listeners)
	count := 0
	for _, fd := range fds {
		target, err := os.Readlink(s.proc(pid, "fd", fd.Name()))
		inode, isSocket := strings.CutPrefix(target, "socket:[")
		if err == nil && isSocket && listeners[strings.TrimSuffix(inode, "]")] {
			count++
		}
	}
	return count
}

// table adds the inode numbers of the lines of /proc/PID/net/NAME that have a word
// in a column.
func (s System) table(pid int, name string, column int, word string, inode int, found map[string]bool) {
	text, err := os.ReadFile(s.proc(pid, "net", name))
	if err != nil {
		return
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > max(column, inode) && f[column] == word {
			found[f[inode]] = true
		}
	}
}
