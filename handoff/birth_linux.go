package handoff

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// startSibling starts cmd by start as this process's sibling, the child of its
// parent. Under systemd that has to be: PID 1 decides once, when it hears of a new
// main process, whether that is its own child. If it is not, PID 1 never sees it
// die, and stops it by SIGKILL right after SIGTERM, for as long as the service
// runs.
//
// The process can't be waited for as a child can; see waitSibling. For the init of
// a pid namespace, which can have no siblings, the error is EINVAL.
func startSibling(cmd *exec.Cmd, start func(*exec.Cmd) error) (pidfd *os.File, err error) {
	fd := -1
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_PARENT, PidFD: &fd}
	err = start(cmd)
	if fd < 0 {
		if err == nil {
			err = errors.New("handoff: this kernel gave no pidfd")
			_ = cmd.Process.Kill()
		}
		return nil, err
	}
	if err != nil {
		unix.Close(fd)
		if cmd.Process != nil { // a stage that could not become its target
			_ = cmd.Process.Release()
		}
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil { // to wait for it without a thread
		unix.Close(fd)
		_ = cmd.Process.Kill()
		_ = cmd.Process.Release()
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// waitSibling waits until the process of a pidfd has ended, and returns how.
func waitSibling(pidfd *os.File) error {
	raw, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	err = raw.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		return err != unix.EINTR && (n > 0 || err != nil)
	})
	if err != nil {
		return err
	}
	status, ok := exitStatus(raw)
	switch {
	case !ok:
		return fmt.Errorf("%w; its parent, the service manager, knows its exit status", ErrExited)
	case status.Signaled():
		return fmt.Errorf("%w: signal: %v", ErrExited, status.Signal())
	}
	return fmt.Errorf("%w: exit status %d", ErrExited, status.ExitStatus())
}

// exitStatus asks the kernel for the exit status of a process that isn't our
// child (PIDFD_GET_INFO, Linux 6.15), once its parent has reaped it.
func exitStatus(raw syscall.RawConn) (status syscall.WaitStatus, ok bool) {
	const (
		getInfo  = 0xc040ff0b // _IOWR(0xff, 11, struct pidfd_info)
		infoExit = 1 << 3
	)
	var info struct {
		mask, cgroup uint64
		ids          [11]uint32
		exit         int32
	}
	for range 100 {
		var errno syscall.Errno
		info.mask = infoExit
		err := raw.Control(func(fd uintptr) {
			_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, getInfo, uintptr(unsafe.Pointer(&info)))
		})
		if err != nil || errno == unix.ENOTTY || errno == unix.EINVAL {
			return 0, false
		}
		if errno == 0 && info.mask&infoExit != 0 {
			return syscall.WaitStatus(info.exit), true
		}
		time.Sleep(time.Millisecond)
	}
	return 0, false
}
