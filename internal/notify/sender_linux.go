package notify

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// From reports whether the message counts as one of process pid: pid itself or
// a descendant sent it (a wrapper's service, systemd-notify in a script), and
// the sender's user is this process's own or root. Where this process is root,
// any user will do, since what root starts may well drop its privileges.
//
// On systems that don't tell a datagram's sender it is true for every message:
// there only this user and root can reach the socket.
//
// Call it before the next Receive; see IsDescendant for what can't be told
// later.
func (m Message) From(pid int) bool {
	if m.PID <= 0 || !trustedUser(m.UID, os.Geteuid()) {
		return false
	}
	return IsDescendant(m.PID, pid)
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
