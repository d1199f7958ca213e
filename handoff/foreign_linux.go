package handoff

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Signal sends a signal to the process itself, never to another that has its number.
func (r *relay) Signal(sig os.Signal) error {
	raw, err := r.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = raw.Control(func(fd uintptr) { serr = unix.PidfdSendSignal(int(fd), sig.(syscall.Signal), nil, 0) })
	if err != nil {
		return err
	}
	return os.NewSyscallError("pidfd_send_signal", serr)
}
