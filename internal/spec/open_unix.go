//go:build unix

package spec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/unixpath"
	"golang.org/x/sys/unix"
)

func open(ctx context.Context, s Spec) (*Socket, error) {
	switch {
	case s.Type == "fd":
		return openPassed(s)
	case s.Type == "vsock":
		return openVsock(s)
	case s.Unix():
		return openUnix(s)
	}
	inner, addr, err := listen(ctx, s)
	if err != nil {
		return nil, err
	}
	defer inner.Close() // the duplicate stays
	f, err := duplicate(inner, s.String())
	if err != nil {
		return nil, err
	}
	if s.Options.Backlog > 0 { // a second listen(2) changes it
		if err := listenAgain(f, s.Options.Backlog); err != nil {
			f.Close()
			return nil, err
		}
	}
	return &Socket{File: handoff.File{Conn: f}, Addr: addr}, nil
}

// duplicate leaves package net's listener: in blocking mode, and with no poller.
func duplicate(inner io.Closer, name string) (*os.File, error) {
	raw, err := inner.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, derr := -1, error(nil)
	err = raw.Control(func(from uintptr) {
		if fd, derr = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 3); derr == nil {
			derr = unix.SetNonblock(fd, false)
		}
	})
	if err = errors.Join(err, os.NewSyscallError("fcntl", derr)); err != nil {
		if fd >= 0 {
			unix.Close(fd)
		}
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func listenAgain(f *os.File, backlog int) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var lerr error
	err = raw.Control(func(fd uintptr) { lerr = unix.Listen(int(fd), backlog) })
	return errors.Join(err, os.NewSyscallError("listen", lerr))
}

// newSocket is close-on-exec and blocking.
func newSocket(family, class int) (int, error) {
	syscall.ForkLock.RLock() // not every system can make it close-on-exec from birth
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, class, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	unix.CloseOnExec(fd)
	return fd, nil
}

func openPassed(s Spec) (*Socket, error) {
	fd, err := strconv.Atoi(s.Value)
	if err != nil {
		return nil, err
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	switch {
	case err != nil:
		return nil, fmt.Errorf("descriptor %d is not open: %w", fd, os.NewSyscallError("fcntl", err))
	case flags&unix.FD_CLOEXEC != 0:
		return nil, fmt.Errorf("descriptor %d was not passed to this process, or came by LISTEN_FDS and is passed on anyway", fd)
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if fd > 2 {
		unix.CloseOnExec(fd)
	}
	return &Socket{File: handoff.File{Conn: os.NewFile(uintptr(dup), s.String())}}, nil
}

// backlog is how many connections may wait.
func (o Options) backlog() int {
	if o.Backlog > 0 {
		return o.Backlog
	}
	return int(^uint16(0)) // cut to the system's most, by Linux from 2.4.25 on and by the BSDs
}

// openUnix makes each step itself, as package net has none between bind(2) and
// listen(2): there nobody can connect yet, and the file can be given its mode.
func openUnix(s Spec) (_ *Socket, err error) {
	class := map[string]int{"unixgram": unix.SOCK_DGRAM, "unixpacket": unix.SOCK_SEQPACKET}[s.Network()]
	if class == 0 {
		class = unix.SOCK_STREAM
	}
	addr := &net.UnixAddr{Name: s.Value, Net: s.Network()}
	if s.Path() {
		if addr.Name, err = absolute(s); err != nil {
			return nil, err
		}
		if err := unixpath.Check(addr.Name); err != nil {
			return nil, fmt.Errorf("%s: %w", addr.Name, err)
		}
		defer unixpath.Lock(addr.Name)()
	} else if !hasAbstract {
		return nil, unsupported("abstract address", "only Linux has them; name a path")
	}
	who, err := s.Options.who()
	if err != nil {
		return nil, err
	}
	fd, err := newSocket(unix.AF_UNIX, class)
	if err != nil {
		return nil, err
	}
	sock := &Socket{File: handoff.File{Conn: os.NewFile(uintptr(fd), s.String())}, Addr: addr}
	if s.Options.Mode != 0 {
		beforeBirth(fd, s.Options.Mode)
	}
	if err := bindUnix(fd, addr); err != nil {
		sock.Close()
		return nil, err
	}
	if s.Path() {
		if sock.file, err = os.Lstat(addr.Name); err == nil {
			err = setFile(addr.Name, sock.file, s.Options.Mode, who)
		}
	}
	if err == nil && !s.Datagram() {
		err = os.NewSyscallError("listen", unix.Listen(fd, s.Options.backlog()))
	}
	if err != nil {
		return nil, errors.Join(err, sock.Discard())
	}
	return sock, nil
}

// absolute is a path that says the same after a change of the folder.
func absolute(s Spec) (string, error) {
	path, err := filepath.Abs(s.Value)
	if err == nil && len(path)+1 > maxUnix {
		err = fmt.Errorf("the path %s is of %d bytes, more than a unix socket's may have", path, len(path))
	}
	return path, err
}

func bindUnix(fd int, addr *net.UnixAddr) error {
	bind := func() error {
		return os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrUnix{Name: addr.Name}))
	}
	err := bind()
	if !unixpath.Is(addr.Name) {
		return err
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		if rerr := unixpath.RemoveStale(addr.Net, addr.Name); rerr != nil {
			return fmt.Errorf("%w (%w)", err, rerr)
		}
		return bind()
	case errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("%w: the folder %s is missing", err, filepath.Dir(addr.Name))
	}
	return err
}

// owners are the numbers of a user and a group, -1 where it stays as it is.
type owners struct{ uid, gid int }

func (o Options) who() (owners, error) {
	who := owners{-1, -1}
	if o.Owner != "" {
		u, err := user.Lookup(o.Owner)
		number := o.Owner
		if err == nil {
			number = u.Uid
		}
		if who.uid, err = accountNumber(number); err != nil {
			return who, fmt.Errorf("owner=%s: there is no user of that name", o.Owner)
		}
	}
	if o.Group != "" {
		g, err := user.LookupGroup(o.Group)
		number := o.Group
		if err == nil {
			number = g.Gid
		}
		if who.gid, err = accountNumber(number); err != nil {
			return who, fmt.Errorf("group=%s: there is no group of that name", o.Group)
		}
	}
	return who, nil
}

// accountNumber leaves out 2³²-1, which means none.
func accountNumber(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err == nil && n == 1<<32-1 {
		err = strconv.ErrRange
	}
	return int(n), err
}
