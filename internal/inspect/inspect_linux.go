package inspect

import (
	"bytes"
	"cmp"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	nonblock = unix.O_NONBLOCK
	cloexec  = unix.O_CLOEXEC
)

func proc(pid int, elements ...string) string {
	return filepath.Join(append([]string{"/proc", strconv.Itoa(pid)}, elements...)...)
}

func read(pid int) (*Process, error) {
	own, status, err := factsOf(pid)
	if err != nil {
		return nil, err
	}
	p := &Process{PID: pid, Name: status["Name"], Parent: own.parent, Executable: own.executable, Meant: own.own}
	if _, parent, err := factsOf(own.parent); err == nil {
		p.ParentName = parent["Name"]
	}
	p.Unit = unitOf(pid)
	p.ExecutableState = executableState(pid)
	p.Handoff = builtWithHandoff(proc(pid, "exe"))
	p.Environment = listenVariables(pid, own.inner)
	if p.Descriptors, err = descriptors(pid); err != nil {
		return nil, err
	}
	p.name()
	p.findOthers(own)
	if _, _, err := factsOf(pid); err != nil { // what was read is of its end
		return nil, err
	}
	return p, nil
}

// factsOf also returns /proc/PID/status.
func factsOf(pid int) (facts, map[string]string, error) {
	f := facts{pid: pid}
	text, err := os.ReadFile(proc(pid, "status"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return f, nil, fmt.Errorf("process %d: %w", pid, ErrNoProcess)
	}
	if err != nil {
		return f, nil, err
	}
	status := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		status[name] = strings.TrimSpace(value)
	}
	if strings.HasPrefix(status["State"], "Z") || strings.HasPrefix(status["State"], "X") {
		return f, nil, fmt.Errorf("process %d: %w: it has ended, and its parent has not taken note yet", pid, ErrNoProcess)
	}
	f.parent, _ = strconv.Atoi(status["PPid"])
	f.manager = pid == 1 || status["Name"] == "systemd"
	f.started = started(pid)
	f.executable, _ = os.Readlink(proc(pid, "exe"))
	f.executable = strings.TrimSuffix(f.executable, " (deleted)")
	// In the process's own pid namespace it may have another number.
	pids := strings.Fields(status["NSpid"])
	inner := strconv.Itoa(pid)
	if len(pids) > 0 {
		inner = pids[len(pids)-1]
	}
	f.own = listenVariables(pid, inner)["LISTEN_PID"] == inner
	f.inner = inner
	return f, status, nil
}

// started is field 22 of /proc/PID/stat; the second may hold anything, in brackets.
func started(pid int) uint64 {
	text, _ := os.ReadFile(proc(pid, "stat"))
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 20 {
		return 0
	}
	n, _ := strconv.ParseUint(fields[19], 10, 64)
	return n
}

// listenVariables are those of process pid, whose number is inner in its own pid
// namespace. A generation that was started directly by another one has written
// LISTEN_PID itself, which /proc doesn't show; what shows is that it was asked to.
func listenVariables(pid int, inner string) map[string]string {
	vars := map[string]string{}
	text, _ := os.ReadFile(proc(pid, "environ"))
	asked := false
	for entry := range strings.SplitSeq(string(text), "\x00") {
		name, value, ok := strings.Cut(entry, "=")
		switch {
		case ok && strings.HasPrefix(name, "LISTEN_"):
			vars[name] = value
		case ok && name == "HANDOFF_STAGE":
			asked = true
		}
	}
	if asked && vars["LISTEN_FDS"] != "" {
		vars["LISTEN_PID"] = inner
	}
	return vars
}

// unitOf is the last service, socket or scope in the process's control group.
func unitOf(pid int) string {
	text, _ := os.ReadFile(proc(pid, "cgroup"))
	unit := ""
	for line := range strings.Lines(string(text)) {
		if fields := strings.SplitN(strings.TrimSpace(line), ":", 3); len(fields) == 3 && (fields[1] == "" || fields[1] == "name=systemd") {
			for element := range strings.SplitSeq(fields[2], "/") {
				if strings.HasSuffix(element, ".service") || strings.HasSuffix(element, ".scope") {
					unit = element
				}
			}
		}
	}
	return unit
}

// executableState compares the file that runs with that which lies at its path now, as
// the process sees it.
func executableState(pid int) string {
	link, err := os.Readlink(proc(pid, "exe"))
	if err != nil {
		return "unknown"
	}
	path := strings.TrimSuffix(link, " (deleted)")
	running, err := os.Stat(proc(pid, "exe"))
	if err != nil {
		return "unknown"
	}
	now, err := os.Stat(proc(pid, "root") + path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "deleted"
	case err != nil:
		return "unknown"
	case !os.SameFile(running, now):
		return "replaced"
	}
	return ""
}

const module = "github.com/handoff-dev/handoff"

func builtWithHandoff(path string) bool {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return false
	}
	if info.Main.Path == module {
		return true
	}
	for _, m := range info.Deps {
		if m.Path == module {
			return true
		}
	}
	return false
}

// sockets are all of the process's network namespace, by their inode.
func sockets(pid int) map[string]Socket {
	all := map[string]Socket{}
	for _, name := range []string{"tcp", "tcp6", "udp", "udp6"} {
		text, _ := os.ReadFile(proc(pid, "net", name)) // a kernel without IPv6 has no tcp6
		readIP(all, string(text), strings.HasPrefix(name, "udp"))
	}
	text, _ := os.ReadFile(proc(pid, "net", "unix"))
	readUnix(all, string(text))
	return all
}

func descriptors(pid int) ([]Descriptor, error) {
	numbers, err := numbersOf(pid)
	if err != nil {
		return nil, err
	}
	known := sockets(pid)
	all := []Descriptor{}
	for _, fd := range numbers {
		link, err := os.Readlink(proc(pid, "fd", strconv.Itoa(fd)))
		if err != nil {
			continue // closed meanwhile
		}
		info, _ := os.ReadFile(proc(pid, "fdinfo", strconv.Itoa(fd)))
		d := Descriptor{FD: fd, Flags: flagsOf(string(info))}
		if d.Flags == nil {
			d.Flags = []string{} // [] and not null in JSON
		}
		inode, isSocket := strings.CutPrefix(link, "socket:[")
		if !isSocket {
			d.Kind, d.Address = fileKind(pid, fd, link)
			all = append(all, d)
			continue
		}
		d.Inode = strings.TrimSuffix(inode, "]")
		s, ok := known[d.Inode]
		if !ok { // of another family, or another network namespace
			s.Kind = protocolOf(pid, fd) + " socket"
		}
		d.Kind, d.Address, d.Peer, d.State, d.Waiting = s.Kind, s.Address, s.Peer, s.State, s.Waiting
		all = append(all, d)
	}
	return all, nil
}

func numbersOf(pid int) (numbers []int, err error) {
	dir, err := os.Open(proc(pid, "fd"))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	for _, name := range names {
		if n, nerr := strconv.Atoi(name); nerr == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, err
}

// protocolOf is what the kernel calls a socket's protocol, such as "AF_VSOCK".
func protocolOf(pid, fd int) string {
	var name [64]byte
	n, err := unix.Getxattr(proc(pid, "fd", strconv.Itoa(fd)), "system.sockprotoname", name[:])
	if err != nil || n == 0 {
		return "unknown"
	}
	return strings.TrimRight(string(name[:n]), "\x00")
}

func fileKind(pid, fd int, link string) (kind, path string) {
	if name, ok := strings.CutPrefix(link, "anon_inode:"); ok {
		return strings.Trim(name, "[]"), ""
	}
	if strings.HasPrefix(link, "pipe:") {
		return "pipe", ""
	}
	if name, ok := strings.CutPrefix(link, "/memfd:"); ok {
		return "memfd", strings.TrimSuffix(name, " (deleted)")
	}
	info, err := os.Stat(proc(pid, "fd", strconv.Itoa(fd)))
	kind = "file"
	switch {
	case err != nil:
	case info.IsDir():
		kind = "directory"
	case info.Mode()&fs.ModeCharDevice != 0:
		kind = "character device"
	case info.Mode()&fs.ModeNamedPipe != 0:
		kind = "FIFO"
	}
	return kind, link
}

// name gives sockets the names that they were passed under, while they all lie where they
// were passed. Package handoff moves them, and nobody knows afterwards.
func (p *Process) name() {
	names := strings.Split(p.Environment["LISTEN_FDNAMES"], ":")
	n, _ := strconv.Atoi(p.Environment["LISTEN_FDS"])
	first, err := strconv.Atoi(p.Environment["LISTEN_FDS_FIRST_FD"])
	if err != nil {
		first = 3
	}
	if _, set := p.Environment["LISTEN_FDNAMES"]; !set || !p.Meant || p.Handoff || len(names) != n {
		return
	}
	var there []*Descriptor
	for i := range p.Descriptors {
		if d := &p.Descriptors[i]; d.FD >= first && d.FD < first+n && d.Inode != "" {
			there = append(there, d)
		}
	}
	if len(there) != n {
		return
	}
	for _, d := range there {
		d.Name = names[d.FD-first]
	}
}

// drains tells whether one of two processes that have no listener in common looks like
// a generation that has handed over to the other: then it has none any more.
func drains(p, other facts) bool {
	if rel := relation(p, other); rel != Predecessor && rel != Successor {
		return false
	}
	own, oerr := os.ReadFile(proc(p.pid, "cgroup"))
	others, err := os.ReadFile(proc(other.pid, "cgroup"))
	kin := p.parent == other.parent || p.parent == other.pid || p.pid == other.parent
	return p.executable == other.executable && kin && oerr == nil && err == nil && bytes.Equal(own, others)
}

// findOthers looks through all processes for sockets that clients come by.
func (p *Process) findOthers(own facts) {
	p.Others = []Other{}
	byInode := map[string]*Descriptor{}
	for i := range p.Descriptors {
		if d := &p.Descriptors[i]; d.Inode != "" && d.Listens() {
			byInode[d.Inode] = d
		}
	}
	ages := map[int]uint64{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == p.PID {
			continue
		}
		shared, err := sharedWith(pid, byInode)
		if errors.Is(err, fs.ErrPermission) {
			p.Unseen++
		}
		if len(shared) == 0 && !p.Handoff {
			continue
		}
		other, status, err := factsOf(pid)
		if err != nil || len(shared) == 0 && !drains(own, other) {
			continue
		}
		for inode := range shared {
			byInode[inode].Shared = append(byInode[inode].Shared, pid)
		}
		ages[pid] = other.started
		p.Others = append(p.Others, Other{PID: pid, Name: status["Name"], Relation: relation(own, other), Shared: len(shared)})
	}
	slices.SortFunc(p.Others, func(a, b Other) int {
		return cmp.Or(cmp.Compare(ages[a.PID], ages[b.PID]), cmp.Compare(a.PID, b.PID))
	})
}

func sharedWith(pid int, byInode map[string]*Descriptor) (map[string]bool, error) {
	numbers, err := numbersOf(pid)
	shared := map[string]bool{}
	for _, fd := range numbers {
		link, err := os.Readlink(proc(pid, "fd", strconv.Itoa(fd)))
		if err != nil {
			continue
		}
		if inode, ok := strings.CutPrefix(link, "socket:["); ok && byInode[strings.TrimSuffix(inode, "]")] != nil {
			shared[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return shared, err
}
