package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A process that serves a control socket has a memfd of this name, so that those
// who may look at its descriptors find the socket by the process.
const markerName = "handoff-control"

// marker is its content.
type marker struct {
	Socket string `json:"socket"`
}

// Mark makes this process one that serves the control socket at path, until the
// result is closed.
func Mark(path string) (io.Closer, error) {
	fd, err := unix.MemfdCreate(markerName, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), markerName)
	text, err := json.Marshal(marker{Socket: path})
	if err == nil {
		_, err = f.Write(text)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// ErrNone says that a process has no control socket.
var ErrNone = errors.New("the process has no control socket")

// Find returns a path by which this process reaches the control socket of another,
// also if that lives in another mount namespace. The error is ErrNone if it has
// none, and [fs.ErrPermission] if its descriptors may not be looked at: its directory
// in /proc can be listed in some states in which nothing in it can be read, as from
// another user namespace.
func Find(pid int) (string, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var refused error
	for _, e := range entries {
		link := filepath.Join(dir, e.Name())
		target, err := os.Readlink(link)
		if errors.Is(err, fs.ErrPermission) {
			refused = err
		}
		if err != nil || !strings.HasPrefix(target, "/memfd:"+markerName+" ") {
			continue
		}
		f, err := openMemfd(link)
		switch {
		case errors.Is(err, errNoMemfd):
			continue
		case err != nil:
			return "", err
		}
		var m marker
		err = json.NewDecoder(io.LimitReader(f, 4096)).Decode(&m)
		f.Close()
		if err != nil || !filepath.IsAbs(m.Socket) {
			return "", fmt.Errorf("process %d does not tell where its control socket is", pid)
		}
		return reach(pid, m.Socket), nil
	}
	if refused != nil {
		return "", refused
	}
	return "", ErrNone
}

var errNoMemfd = errors.New("it is no memfd")

// openMemfd opens another process's memfd, and nothing else that has its name: a FIFO, a
// device or a file of a file system that doesn't answer would hold this process up. So it
// looks before it opens, and asks no file system.
func openMemfd(link string) (*os.File, error) {
	path, err := unix.Open(link, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: link, Err: err}
	}
	defer unix.Close(path)
	own, err := unix.MemfdCreate(markerName+"-like", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	defer unix.Close(own)
	// All are in one file system of the kernel's own.
	var theirs, ours unix.Statx_t
	const flags = unix.AT_EMPTY_PATH | unix.AT_STATX_DONT_SYNC
	if err := errors.Join(unix.Statx(path, "", flags, unix.STATX_TYPE, &theirs), unix.Statx(own, "", flags, unix.STATX_TYPE, &ours)); err != nil {
		return nil, os.NewSyscallError("statx", err)
	}
	if theirs.Mode&unix.S_IFMT != unix.S_IFREG || theirs.Dev_major != ours.Dev_major || theirs.Dev_minor != ours.Dev_minor {
		return nil, fmt.Errorf("%s: %w", link, errNoMemfd)
	}
	return os.OpenFile("/proc/self/fd/"+strconv.Itoa(path), os.O_RDONLY|unix.O_NONBLOCK, 0)
}

// reach returns the path, or the way to it through the other process's root.
func reach(pid int, path string) string {
	const longest = 107 // of sockaddr_un
	through := filepath.Join("/proc", strconv.Itoa(pid), "root", path)
	theirs, err := os.Stat(through)
	if err != nil || len(through) > longest {
		return path
	}
	if ours, err := os.Stat(path); err == nil && os.SameFile(ours, theirs) {
		return path
	}
	return through
}

// Found is a process with a control socket.
type Found struct {
	PID    int
	Socket string
	Dir    string // its working directory
}

// List returns the processes of this process's user that have a control socket.
func List() (all []Found) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if uid, err := UserOf(pid); err != nil || uid != os.Geteuid() {
			continue
		}
		socket, err := Find(pid)
		if err != nil {
			continue
		}
		cwd, _ := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		all = append(all, Found{PID: pid, Socket: socket, Dir: cwd})
	}
	return all
}

// Denied tells whether an error of Find is one of rights.
func Denied(err error) bool { return errors.Is(err, fs.ErrPermission) }
