package handoff

import (
	"math/bits"
	"os"

	"golang.org/x/sys/unix"
)

// ownPidfdID is the inode number of a pidfd of this process, which names it for
// as long as the machine is up. Only pidfs (Linux 6.9) has such numbers; a
// 32-bit kernel cuts them off.
func ownPidfdID() (uint64, bool) {
	if bits.UintSize < 64 {
		return 0, false
	}
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return 0, false
	}
	defer unix.Close(fd)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil || int64(fs.Type) != unix.PID_FS_MAGIC {
		return 0, false
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, false
	}
	return st.Ino, true
}
