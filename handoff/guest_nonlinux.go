//go:build unix && !linux

package handoff

import (
	"os"
	"syscall"
	"time"
)

// guestSocket is the socket of a guest.
type guestSocket struct{ *os.File }

func newGuestSocket(fd int) *guestSocket {
	_ = syscall.SetNonblock(fd, true) // or package os would not wait for it
	return &guestSocket{os.NewFile(uintptr(fd), "guest")}
}

// file is the socket as a file, which owns it.
func (s *guestSocket) file() *os.File { return s.File }

// watch tells which guests have something to say: each has a goroutine here.
type watch struct{ lobby *lobby }

func newWatch(b *lobby) (*watch, error) { return &watch{b}, nil }

func (w *watch) add(g *guest) error {
	raw, err := g.socket.SyscallConn()
	if err == nil {
		err = g.socket.SetReadDeadline(time.Time{}) // which fails if it can't be waited for
	}
	if err != nil {
		return err
	}
	go func() {
		if awaitByte(raw) == nil && g.end() {
			g.speak()
		}
	}()
	return nil
}

func (w *watch) remove(g *guest) (ended bool) {
	_ = g.socket.SetReadDeadline(aLongTimeAgo)
	return false
}

// awaitByte waits until there is something to read, be it the end, and reads
// nothing. The error is that of the read deadline.
func awaitByte(raw syscall.RawConn) error {
	var one [1]byte
	return raw.Read(func(fd uintptr) bool {
		for {
			_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK)
			if err != syscall.EINTR {
				return err != syscall.EAGAIN
			}
		}
	})
}
