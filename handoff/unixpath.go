package handoff

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// bindUnix binds a unix socket, in place of a stale one if there is one, and
// notes in s which file is to be removed at the end.
func bindUnix[T io.Closer](ctx context.Context, s *shared, network, address string,
	bind func(ctx context.Context, network, address string) (T, error),
) (T, error) {
	if isPath(address) {
		defer lockDirectory(address)()
	}
	sock, err := bind(ctx, network, address)
	if errors.Is(err, syscall.EADDRINUSE) && isPath(address) {
		if rerr := removeStale(network, address); rerr != nil {
			return sock, fmt.Errorf("%w (%w)", err, rerr)
		}
		sock, err = bind(ctx, network, address)
	}
	if err != nil || !isPath(address) {
		return sock, err
	}
	path := cleanPath(address)
	if info, err := os.Lstat(path); err == nil {
		s.origin.Path = path
		s.origin.Device, s.origin.Inode = fileID(info)
	}
	return sock, nil
}

// isPath tells a file's path from an abstract address and from none.
func isPath(address string) bool {
	return address != "" && !strings.HasPrefix(address, "@") && address[0] != 0
}

// removeStale removes the file of a unix socket that no process has open any
// more. One that is alive stays, as does what is no socket.
//
// Between a look and a removal another process might put its own socket there.
// So the file is first moved aside, looked at again, and put back if it lives.
func removeStale(network, path string) error {
	if err := mustBeStale(network, path); err != nil {
		return err
	}
	aside := path + "." + rand.Text()[:8]
	if err := os.Rename(path, aside); err != nil {
		return fmt.Errorf("a stale socket could not be moved: %w", err)
	}
	if err := mustBeStale(network, aside); err != nil {
		return errors.Join(err, putBack(aside, path))
	}
	return os.Remove(aside)
}

// putBack moves what is no stale socket back to its place. If yet another file has
// appeared there, that one is right.
func putBack(aside, path string) error {
	err := os.Link(aside, path)
	if err == nil || errors.Is(err, os.ErrExist) {
		return errors.Join(err, os.Remove(aside))
	}
	// A directory can't be linked, nor, for some, what belongs to another user.
	return os.Rename(aside, path)
}

// mustBeStale returns nil if path is a unix socket that refuses connections.
func mustBeStale(network, path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s is no socket", path)
	}
	conn, err := net.DialTimeout(network, path, time.Second)
	if err == nil {
		conn.Close()
		return fmt.Errorf("%s is in use by another process", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		// A full queue (EAGAIN), another type (EPROTOTYPE), no permission: no
		// proof that it is dead.
		return fmt.Errorf("%s may be in use by another process: %w", path, err)
	}
	return nil
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
