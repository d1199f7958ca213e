package handoff

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// monotonicUsec returns CLOCK_MONOTONIC in microseconds, the clock that
// MONOTONIC_USEC is defined by; time.Now can't tell it.
func monotonicUsec() (uint64, bool) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0, false
	}
	return uint64(ts.Nano() / 1000), true
}

func pidfdID(pidfd int) (uint64, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(pidfd, &fs); err != nil {
		return 0, os.NewSyscallError("fstatfs", err)
	}
	if fs.Type != unix.PID_FS_MAGIC {
		return 0, fmt.Errorf("descriptor %d is not of pidfs (Linux 6.9 or later): %w", pidfd, errors.ErrUnsupported)
	}
	var st unix.Stat_t
	if err := unix.Fstat(pidfd, &st); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	return st.Ino, nil
}

// A vsockNotifyConn is only an address: as sd_notify does, every message gets
// its own socket, since with streams its end is the message's end.
type vsockNotifyConn struct{ vsockAddr }

func dialNotifyVsock(a vsockAddr) (notifyConn, error) { return vsockNotifyConn{a}, nil }

func (c vsockNotifyConn) Close() error { return nil }

func (c vsockNotifyConn) send(message []byte, files []syscall.Conn, deadline time.Time) error {
	if len(files) > 0 {
		return fmt.Errorf("files can't be sent by vsock: %w", errors.ErrUnsupported)
	}
	fd, kind, err := c.socket()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// A blocking socket with time limits: connect, send and receive in a row
	// want no poller.
	limit := unix.NsecToTimeval(max(time.Until(deadline), time.Millisecond).Nanoseconds())
	for _, option := range []int{unix.SO_SNDTIMEO, unix.SO_RCVTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &limit); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	_ = unix.SetsockoptTimeval(fd, unix.AF_VSOCK, unix.SO_VM_SOCKETS_CONNECT_TIMEOUT, &limit)
	if err := bindPrivilegedVsock(fd); err != nil {
		return err
	}
	if err := ignoringEINTR(func() error { return unix.Connect(fd, &unix.SockaddrVM{CID: c.cid, Port: c.port}) }); err != nil {
		return vsockError("connect", err)
	}
	for rest := message; len(rest) > 0; {
		var sent int
		err := ignoringEINTR(func() (err error) {
			sent, err = unix.SendmsgN(fd, rest, nil, nil, unix.MSG_NOSIGNAL)
			return err
		})
		if err != nil {
			return vsockError("sendmsg", err)
		}
		rest = rest[sent:]
	}
	if kind == unix.SOCK_DGRAM {
		return nil
	}
	// Closing at once can lose what the other side has not read. So the end is
	// said, and its end awaited; a receiver that doesn't close has the message.
	_ = unix.Shutdown(fd, unix.SHUT_WR)
	_ = ignoringEINTR(func() error {
		_, err := unix.Read(fd, make([]byte, 1))
		return err
	})
	return nil
}

// socket returns a socket of the first kind that this machine has.
func (c vsockNotifyConn) socket() (fd, kind int, err error) {
	kinds := []int{unix.SOCK_DGRAM, unix.SOCK_SEQPACKET, unix.SOCK_STREAM}
	switch c.kind {
	case "dgram":
		kinds = kinds[:1]
	case "seqpacket":
		kinds = kinds[1:2]
	case "stream":
		kinds = kinds[2:]
	}
	for _, kind = range kinds {
		fd, err = unix.Socket(unix.AF_VSOCK, kind|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			return fd, kind, nil
		}
		// QEMU has no datagrams and says ENODEV.
		if !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.ESOCKTNOSUPPORT) &&
			!errors.Is(err, unix.EPROTONOSUPPORT) && !errors.Is(err, unix.EAFNOSUPPORT) {
			break
		}
	}
	return -1, 0, os.NewSyscallError("socket", err)
}

// bindPrivilegedVsock takes a port below 1024, by which the receiver can see
// that the sender is privileged. An unprivileged one goes without.
func bindPrivilegedVsock(fd int) error {
	const ports = 1023
	first := rand.IntN(ports)
	for i := range ports {
		port := uint32((first+i)%ports + 1)
		err := unix.Bind(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: port})
		switch {
		case err == nil, errors.Is(err, os.ErrPermission):
			return nil
		case !errors.Is(err, unix.EADDRINUSE):
			return os.NewSyscallError("bind", err)
		}
	}
	return nil
}

// vsockError tells an elapsed SO_SNDTIMEO as what it is.
func vsockError(call string, err error) error {
	if err == unix.EAGAIN || err == unix.EINPROGRESS || err == unix.ETIMEDOUT {
		return errors.Join(os.NewSyscallError(call, err), os.ErrDeadlineExceeded)
	}
	return os.NewSyscallError(call, err)
}
