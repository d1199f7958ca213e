package handoff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/handoff-dev/handoff/handoff/internal/address"
	"github.com/handoff-dev/handoff/internal/unixpath"
)

// bindUnix binds a unix socket, in place of a stale one if there is one, and
// notes in s which file is to be removed at the end.
func bindUnix[T io.Closer](ctx context.Context, s *shared, network, addr string,
	bind func(ctx context.Context, network, address string) (T, error),
) (T, error) {
	if err := unixpath.Check(addr); err != nil {
		var none T
		return none, &net.OpError{Op: "listen", Net: network, Addr: &net.UnixAddr{Name: addr, Net: network}, Err: err}
	}
	if unixpath.Is(addr) {
		defer unixpath.Lock(addr)()
	}
	sock, err := bind(ctx, network, addr)
	if errors.Is(err, syscall.EADDRINUSE) && unixpath.Is(addr) {
		if rerr := unixpath.RemoveStale(network, addr); rerr != nil {
			return sock, fmt.Errorf("%w (%w)", err, rerr)
		}
		sock, err = bind(ctx, network, addr)
	}
	if err != nil || !unixpath.Is(addr) {
		return sock, err
	}
	path := address.CleanPath(addr)
	if info, err := os.Lstat(path); err == nil {
		s.origin.Path = path
		s.origin.Device, s.origin.Inode = fileID(info)
	}
	return sock, nil
}

// reachable tells whether a socket of ours, if it is one with a path, still is the
// file at that path. After a stop it isn't, but the service manager may have stored
// the socket.
func reachable(o origin) bool {
	if o.Path == "" {
		return true
	}
	info, err := os.Lstat(o.Path)
	if err != nil {
		return false
	}
	device, inode := fileID(info)
	return device == o.Device && inode == o.Inode
}

// forgetPaths has the files of unix sockets stay when the service ends.
func forgetPaths(origins []origin) {
	for i := range origins {
		origins[i].Path = ""
	}
}

// unlink removes the file of a unix socket that this service has made, if it is
// still that file.
func (u *Upgrader) unlink(o origin) {
	if !o.Ours || o.Path == "" || !reachable(o) {
		return
	}
	if info, err := os.Lstat(o.Path); err != nil || info.Mode().Type() != os.ModeSocket {
		return // whatever the predecessor says, it is not for us to remove
	}
	if err := os.Remove(o.Path); err != nil && !os.IsNotExist(err) {
		u.log.Warn("removing a unix socket", "path", o.Path, "error", err)
	}
}
