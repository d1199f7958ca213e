//go:build unix

package activate

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Wait returns when a connection or a datagram waits on one of fds, with nothing taken
// from it, or when ctx ends, with its error.
func Wait(ctx context.Context, fds []int) error {
	w, err := newWaker()
	if err != nil {
		return err
	}
	defer w.close()
	defer context.AfterFunc(ctx, w.wake)()
	for {
		ready, err := w.poll(fds)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return err
		case len(ready) > 0:
			return nil
		}
	}
}

// waker is a poll(2) that another goroutine can end.
type waker struct {
	reading, writing *os.File
	fd               int // reading's
}

func newWaker() (*waker, error) {
	reading, writing, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	// In blocking mode; it is read only when poll(2) says so, and written a byte at a
	// time: a full pipe would be as good a wake-up, so it is not blocked on either.
	return &waker{reading, writing, int(reading.Fd())}, nil
}

// wake ends a poll, or the next one. It doesn't block.
func (w *waker) wake() {
	raw, err := w.writing.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { _, _ = unix.Write(int(fd), []byte{0}) }) // EAGAIN: it is awake
	}
}

func (w *waker) close() {
	w.reading.Close()
	w.writing.Close()
}

// poll waits for one of fds, or a wake-up; then it may return none.
func (w *waker) poll(fds []int) (ready []int, err error) {
	all := make([]unix.PollFd, 0, len(fds)+1)
	for _, fd := range fds {
		all = append(all, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	all = append(all, unix.PollFd{Fd: int32(w.fd), Events: unix.POLLIN})
	for {
		_, err := unix.Poll(all, -1)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return nil, os.NewSyscallError("poll", err)
		}
	}
	if all[len(fds)].Revents != 0 {
		var some [64]byte
		_, _ = unix.Read(w.fd, some[:])
	}
	for i, fd := range fds {
		if all[i].Revents != 0 {
			ready = append(ready, fd)
		}
	}
	return ready, nil
}

// MustListen says why nothing can be accepted from a descriptor, as far as the system
// tells.
func MustListen(fd int) error {
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	switch {
	case errors.Is(err, unix.ENOTSOCK):
		return errors.New("it is no socket")
	case err == nil && listens == 0:
		return errors.New("it does not listen")
	}
	return nil // Darwin doesn't tell
}
