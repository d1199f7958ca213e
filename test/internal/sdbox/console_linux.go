package sdbox

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// console is the terminal on which PID 1 says what went wrong before there is a
// journal. systemd accepts only a terminal there.
type console struct {
	path string
	near *os.File
	far  *os.File // of the box; open here too, so that near does not see a hangup
	read chan struct{}

	mu  sync.Mutex
	log bytes.Buffer
}

func openConsole() (*console, error) {
	near, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	n, err := unlockTerminal(near)
	if err != nil {
		near.Close()
		return nil, err
	}
	c := &console{path: fmt.Sprintf("/dev/pts/%d", n), near: near, read: make(chan struct{})}
	if c.far, err = os.OpenFile(c.path, os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		near.Close()
		return nil, err
	}
	go c.follow()
	return c, nil
}

func unlockTerminal(f *os.File) (n int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var inner error
	err = raw.Control(func(fd uintptr) {
		if inner = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); inner != nil {
			return
		}
		n, inner = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
	})
	if err == nil {
		err = os.NewSyscallError("ioctl of /dev/ptmx", inner)
	}
	return n, err
}

func (c *console) follow() {
	defer close(c.read)
	buf := make([]byte, 4096)
	for {
		n, err := c.near.Read(buf)
		c.mu.Lock()
		c.log.Write(buf[:n])
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.ReplaceAll(c.log.String(), "\r", "")
}

func (c *console) close() {
	c.far.Close()
	c.near.Close()
	<-c.read
}
