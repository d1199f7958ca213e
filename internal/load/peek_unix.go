//go:build unix

package load

import (
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const peekSupported = true

// peekConn can be read without waiting.
//
// While now is set a Read takes what is there, or fails with [errSilent]. A
// real read, rather than a look with MSG_PEEK, is what works through TLS and a
// bufio.Reader as well: nothing that it gets is lost.
type peekConn struct {
	net.Conn
	raw syscall.RawConn
	now bool
}

func newPeekConn(c net.Conn) (*peekConn, error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("load: a %T can't be peeked at", c)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("load: peek: %w", err)
	}
	return &peekConn{Conn: c, raw: raw}, nil
}

func (c *peekConn) Read(p []byte) (n int, err error) {
	if !c.now {
		return c.Conn.Read(p)
	}
	ctlErr := c.raw.Read(func(fd uintptr) bool {
		n, err = unix.Read(int(fd), p)
		return true
	})
	switch {
	case ctlErr != nil:
		return 0, ctlErr
	case err == unix.EAGAIN, err == unix.EINTR:
		return 0, errSilent
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}
