package doctor

import (
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/handoff"
)

// pidfdID is what LISTEN_PIDFDID is to be for a process; "" if that can't be told.
func pidfdID(pid int) string {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	id, err := handoff.PIDFDID(fd)
	if err != nil {
		return ""
	}
	return strconv.FormatUint(id, 10)
}
