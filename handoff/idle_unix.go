//go:build unix

package handoff

import (
	"io"
	"net"
	"os"
	"syscall"
)

// awaited is the read that waits for the next request. It is net/http's, so there is
// one at a time.
type awaited struct {
	raw  syscall.RawConn
	try  func(fd uintptr) bool
	p    []byte
	n    int
	errn error
}

// await reads as the socket's own Read does, but takes bytes from it only while the
// connection has not left.
func (c *servedConn) await(p []byte) (int, error) {
	w := &c.wait
	if w.raw == nil {
		var err error
		if w.raw, err = c.inner.SyscallConn(); err != nil {
			return 0, err
		}
		w.try = c.try
	}
	w.p, w.n, w.errn = p, 0, nil
	err := w.raw.Read(w.try)
	w.p = nil
	if e, ok := err.(*net.OpError); ok {
		e.Op = "read" // net/http looks at it
		return 0, e
	}
	switch {
	case err != nil:
		return 0, err
	case w.errn != nil:
		return 0, &net.OpError{Op: "read", Net: c.inner.LocalAddr().Network(), Source: c.inner.LocalAddr(), Addr: c.inner.RemoteAddr(), Err: os.NewSyscallError("read", w.errn)}
	case w.n == 0:
		return 0, io.EOF
	}
	return w.n, nil
}

func (c *servedConn) try(fd uintptr) bool {
	w := &c.wait
	return c.idle.take(func() bool {
		for {
			n, err := syscall.Read(int(fd), w.p)
			switch err {
			case nil:
				w.n = n
			case syscall.EAGAIN:
				return false
			case syscall.EINTR:
				continue
			default:
				w.errn = err
			}
			return true
		}
	})
}

// hasBytes tells whether there is something to read, be it the end.
func hasBytes(conn socketConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	var one [1]byte
	has := false
	err = raw.Control(func(fd uintptr) {
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		has = err == nil
	})
	return err == nil && has
}
