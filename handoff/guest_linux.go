package handoff

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// guestSocket is the socket of a guest: nothing but its descriptor.
type guestSocket struct{ fd int }

func newGuestSocket(fd int) *guestSocket { return &guestSocket{fd} }

// file is the socket as a file, which owns it.
func (s *guestSocket) file() *os.File { return os.NewFile(uintptr(s.fd), "guest") }

func (s *guestSocket) Close() error { return os.NewSyscallError("close", unix.Close(s.fd)) }

// SyscallConn lends the descriptor. One that owns a guest's socket does one thing with
// it at a time, so nobody closes it meanwhile.
func (s *guestSocket) SyscallConn() (syscall.RawConn, error) { return s, nil }

func (s *guestSocket) Control(do func(fd uintptr)) error {
	do(uintptr(s.fd))
	return nil
}

func (s *guestSocket) Read(func(fd uintptr) bool) error  { return os.ErrInvalid }
func (s *guestSocket) Write(func(fd uintptr) bool) error { return os.ErrInvalid }

// watch tells which guests have something to say. Its lobby guards it.
type watch struct {
	fd     int
	file   *os.File // the same, for package os to wait for it
	guests map[int32]*guest
}

func newWatch(b *lobby) (*watch, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or package os would not wait for it
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	w := &watch{fd: fd, file: os.NewFile(uintptr(fd), "guests"), guests: make(map[int32]*guest)}
	raw, err := w.file.SyscallConn()
	if err != nil {
		w.file.Close()
		return nil, fmt.Errorf("handoff: waiting for connections: %w", err)
	}
	go raw.Read(func(uintptr) (over bool) {
		for w.look(b) {
		}
		return false // until remove closes the file
	})
	return w, nil
}

func (w *watch) add(g *guest) error {
	fd := int32(g.socket.fd)
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: fd}
	if err := unix.EpollCtl(w.fd, unix.EPOLL_CTL_ADD, int(fd), &event); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	w.guests[fd] = g
	return nil
}

// remove ends the watch with its last guest, and tells so.
func (w *watch) remove(g *guest) (ended bool) {
	delete(w.guests, int32(g.socket.fd))
	if len(w.guests) == 0 {
		go w.file.Close() // which waits for look, which waits for the lobby
		return true
	}
	// Its socket lives on elsewhere, so closing the descriptor would not do.
	_ = unix.EpollCtl(w.fd, unix.EPOLL_CTL_DEL, g.socket.fd, nil)
	return false
}

// look has the guests served that have something to say. false: there are none.
func (w *watch) look(b *lobby) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.watch != w {
		return false
	}
	var events [64]unix.EpollEvent
	n, err := unix.EpollWait(w.fd, events[:], 0)
	if err == unix.EINTR {
		return true
	}
	for _, event := range events[:max(n, 0)] {
		if g := w.guests[event.Fd]; g != nil && g.endLocked() {
			go g.speak()
		}
	}
	return n > 0
}
