package notify

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// From reports whether the message counts as one of process pid: pid itself or
// a descendant sent it (a wrapper's service, systemd-notify in a script), and
// the sender's user is this process's own or root. Where this process is root,
// any user will do, since what root starts may well drop its privileges.
//
// On systems that don't tell a datagram's sender it is true for every message:
// there only this user and root can reach the socket.
//
// A sender that has ended since can't be looked up any more. It counts if its user is
// this process's own, or root, or the one of process pid: who has that user's rights could
// have had process pid itself say what it said, by ptrace(2). Others can't.
//
// Call it before the next Receive; see IsDescendant for what can't be told
// later.
func (m Message) From(pid int) bool {
	self := os.Geteuid()
	if m.PID <= 0 || !trustedUser(m.UID, self) {
		return false
	}
	is, gone := descends(m.PID, pid)
	return is || gone && (m.UID == self || m.UID == 0 || m.UID == userOf(pid))
}

// descends is IsDescendant; gone tells that pid itself is there no more.
func descends(pid, ancestor int) (is, gone bool) {
	for range 4 { // a parent may end while we look
		if IsDescendant(pid, ancestor) {
			return true, false
		}
		_, err := parentOf(pid)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			_, err := parentOf(os.Getpid()) // without /proc nothing is known
			return false, err == nil
		}
	}
	return false, false
}

// userOf is the user of a process, -1 if it isn't known.
func userOf(pid int) int {
	info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		return -1
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1
	}
	return int(stat.Uid)
}

func trustedUser(sender, self int) bool {
	return sender == self || sender == 0 || self == 0
}

// maxGenerations bounds the walk from a process to its ancestors, which change
// while they are read.
const maxGenerations = 256

// IsDescendant reports whether pid is ancestor or a descendant of it, by the
// parents in /proc. On other systems only equality counts.
//
// It tells what is so now. A process that has ended and was waited for is
// nobody's descendant, nor is one whose parent ended, which init adopts. And a
// pid may have been given to another process since: the caller holds ancestor
// (its pidfd, or by not having waited for it), and a sender that waits for its
// BARRIER holds its own.
func IsDescendant(pid, ancestor int) bool {
	if ancestor <= 0 {
		return false
	}
	for range maxGenerations {
		if pid == ancestor {
			return true
		}
		if pid <= 1 {
			return false
		}
		parent, err := parentOf(pid)
		if err != nil {
			return false
		}
		pid = parent
	}
	return false
}

func parentOf(pid int) (int, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseParent(stat)
}

// parseParent returns the fourth field of a /proc/PID/stat, proc_pid_stat(5).
// The second is the command's name in parentheses, with any bytes in it, those
// of ") S 1" included; the last parenthesis is its end.
func parseParent(stat []byte) (int, error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0, fmt.Errorf("no parent in %q", stat)
	}
	return strconv.Atoi(string(fields[1]))
}
