package flip

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// pipeWriters returns the writing ends of pipes that this process has open, but for
// its standard descriptors.
func pipeWriters() (map[int]bool, error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, fmt.Errorf("flip: %w", err)
	}
	found := make(map[int]bool)
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || fd < 3 {
			continue
		}
		var st unix.Stat_t
		if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if err == nil && flags&unix.O_ACCMODE == unix.O_WRONLY {
			found[fd] = true
		}
	}
	return found, nil
}

var errNoChild = errors.New("flip: the tableflip server has ended right after it was ready")

// child returns the one child of this process that is alive.
func child() (pid int, pidfd *os.File, err error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, nil, err
	}
	for _, path := range stats {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || !isChild(path) {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			return 0, nil, errNoChild
		}
		// The number could have been given away before it was opened.
		if !isChild(path) {
			unix.Close(fd)
			return 0, nil, errNoChild
		}
		// So that a Go program can wait for it without a thread.
		if err := unix.SetNonblock(fd, true); err != nil {
			unix.Close(fd)
			return 0, nil, os.NewSyscallError("fcntl", err)
		}
		return pid, os.NewFile(uintptr(fd), "pidfd"), nil
	}
	return 0, nil, errNoChild
}

// isChild tells whether a proc_pid_stat(5) is of a living child of this process.
func isChild(path string) bool {
	text, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	// The second field is a name in parentheses, with any characters.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	return len(fields) > 1 && fields[0] != "Z" && fields[1] == strconv.Itoa(os.Getpid())
}
