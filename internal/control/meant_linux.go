package control

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrOther says that another service listens on a control socket than the one that was
// meant.
var ErrOther = errors.New("it is another service's control socket")

// CheckPeer returns nil if who listens at the other end of c is process pid, or another
// of its user uid (see [UserOf]) that may be of its service: in the same pid namespace and
// control group. What a process says about itself leads nobody to the service of another
// user, or from a container to the machine's. It goes by what the kernel knows: SO_PEERCRED
// (unix(7)), the effective user in proc_pid_status(5), and the groups.
func CheckPeer(c *net.UnixConn, pid, uid int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	cerr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(cerr, err); err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if int(cred.Pid) == pid {
		return nil
	}
	if uid != int(cred.Uid) {
		return fmt.Errorf("process %d of user %d names a control socket on which process %d of user %d listens: %w", pid, uid, cred.Pid, cred.Uid, ErrOther)
	}
	if strangers(pid, int(cred.Pid)) {
		return fmt.Errorf("process %d names a control socket on which process %d of another container or control group listens: %w", pid, cred.Pid, ErrOther)
	}
	return nil
}

// UserOf returns the effective user of a process. The owner of /proc/PID would not do: that
// is root for a process that can't be dumped.
func UserOf(pid int) (int, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return -1, err
	}
	for line := range strings.Lines(string(text)) {
		if ids, ok := strings.CutPrefix(line, "Uid:"); ok {
			if f := strings.Fields(ids); len(f) > 1 {
				return strconv.Atoi(f[1])
			}
		}
	}
	return -1, errors.New("its status names no user")
}
