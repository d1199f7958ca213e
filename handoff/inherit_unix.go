//go:build unix

package handoff

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func inherit(opts InheritOptions) (*Set, error) {
	return process{
		lookup:  os.LookupEnv,
		unset:   os.Unsetenv,
		pid:     os.Getpid,
		pidfdID: ownPidfdID,
		fds:     ownFDs,
	}.inheritFDs(opts)
}

var ownFDs = fdTable{adopt: adoptFD, mark: unix.CloseOnExec, kindOf: kindOf, close: closeFD}

// adoptFD refuses a descriptor that is close-on-exec, because exec would have
// closed it: it is the Go runtime's epoll instance, a file opened since, or
// something that another reader of the protocol has in use.
func adoptFD(fd int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	switch {
	case errors.Is(err, unix.EBADF):
		return fmt.Errorf("descriptor %d is not open: %w", fd, err)
	case err != nil:
		return fmt.Errorf("descriptor %d can't be read: %w", fd, os.NewSyscallError("fcntl", err))
	case flags&unix.FD_CLOEXEC != 0:
		return fmt.Errorf("descriptor %d was not passed: it is close-on-exec already, so this process has opened or taken it itself", fd)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, flags|unix.FD_CLOEXEC); err != nil {
		return fmt.Errorf("descriptor %d can't be made close-on-exec: %w", fd, os.NewSyscallError("fcntl", err))
	}
	return nil
}

func dupFD(fd int) (int, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, firstFD)
	return dup, os.NewSyscallError("fcntl", err)
}

func closeFD(fd int) error { return unix.Close(fd) }
