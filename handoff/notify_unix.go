//go:build unix

package handoff

import (
	"errors"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/fds"
	"golang.org/x/sys/unix"
)

// A unixNotifyConn is a connected datagram socket. Connected, because the
// kernel reports room in the receiver's queue, which a send waits for, to
// connected senders only.
type unixNotifyConn struct{ *net.UnixConn }

func dialNotifyUnix(address string) (notifyConn, error) {
	if strings.HasPrefix(address, "@") && runtime.GOOS != "linux" && runtime.GOOS != "android" {
		return nil, errors.Join(errors.New("abstract sockets exist on Linux only"), errors.ErrUnsupported)
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	// The BSDs refuse what exceeds the send buffer, 2048 bytes there. Where it
	// can't be set, such a send fails with EMSGSIZE.
	_ = conn.SetWriteBuffer(4 * MaxNotifySize)
	return unixNotifyConn{conn}, nil
}

func (c unixNotifyConn) send(message []byte, files []syscall.Conn, deadline time.Time) error {
	if err := c.SetWriteDeadline(deadline); err != nil {
		return err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return fds.With(files, func(fds []int) error {
		var rights []byte
		if len(fds) > 0 {
			rights = unix.UnixRights(fds...)
		}
		for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
			err := sendDatagram(raw, message, rights)
			// These come at once and leave nothing to wait for: a full queue
			// (BSD), kernel memory, and too many files in flight.
			full := errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.ETOOMANYREFS)
			if !full {
				return err
			}
			if time.Until(deadline) < pause {
				return errors.Join(err, os.ErrDeadlineExceeded)
			}
			time.Sleep(pause)
		}
	})
}

// sendDatagram waits for room in the receiver's queue until the write deadline.
// net.UnixConn would do, but its WriteMsgUnix refuses connected sockets.
func sendDatagram(raw syscall.RawConn, message, rights []byte) error {
	var failed error
	err := raw.Write(func(fd uintptr) bool {
		failed = ignoringEINTR(func() error {
			_, err := unix.SendmsgN(int(fd), message, rights, nil, 0)
			return err
		})
		return failed != unix.EAGAIN
	})
	if err != nil {
		return err // the deadline, or closed
	}
	return os.NewSyscallError("sendmsg", failed)
}

func ignoringEINTR(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
