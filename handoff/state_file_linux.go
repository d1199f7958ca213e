package handoff

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// newStateFile returns a memfd_create(2) file, or a temporary one where a seccomp
// filter doesn't allow that.
func newStateFile() (*stateFile, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	// vm.memfd_noexec=2 wants the flag, kernels before 6.3 don't know it.
	fd, err := unix.MemfdCreate("handoff-state", flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("handoff-state", flags)
	}
	switch {
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return temporaryStateFile()
	case err != nil:
		return nil, os.NewSyscallError("memfd_create", err)
	}
	file := os.NewFile(uintptr(fd), "handoff-state")
	return &stateFile{write: file, read: file, seal: func() error {
		// One that received it could change it under another's eyes otherwise.
		_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
		return os.NewSyscallError("fcntl", err)
	}}, nil
}
