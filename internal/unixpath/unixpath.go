// Package unixpath deals with the files of unix sockets: it removes what nobody
// listens on any more, and nothing else.
package unixpath

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Is tells a file's path from an abstract address and from none.
func Is(address string) bool {
	return address != "" && !strings.HasPrefix(address, "@") && address[0] != 0
}

// Check returns an error that wraps EINVAL if address is longer than that of a unix
// socket may be, as bind(2) and connect(2) do without saying why: unix(7).
func Check(address string) error {
	longest, most := longest(), "a path"
	if !Is(address) {
		longest, most = longest+1, "an abstract address"
	}
	if len(address) <= longest {
		return nil
	}
	return fmt.Errorf("the address is of %d bytes, more than a unix socket's may have (%d for %s): %w", len(address), longest, most, syscall.EINVAL)
}

// longest is how many bytes a path may have, without the zero that ends it.
func longest() int {
	switch runtime.GOOS {
	case "linux", "windows":
		return 107
	}
	return 103
}

// RemoveStale removes the file of a unix socket that no process has open any
// more. One that is alive stays, as does what is no socket: then the error says so.
// network is what package net calls that of the socket that is to take its place.
//
// Between a look and a removal another process might put its own socket there.
// So the file is first moved aside, looked at again, and put back if it lives.
func RemoveStale(network, path string) error {
	if err := mustBeStale(network, path); err != nil {
		return err
	}
	aside := asideOf(path)
	if err := os.Rename(path, aside); err != nil {
		return fmt.Errorf("a stale socket could not be moved: %w", err)
	}
	if err := mustBeStale(network, aside); err != nil {
		return errors.Join(err, PutBack(aside, path))
	}
	return os.Remove(aside)
}

// asideOf is a new name beside path. It has to be the address of a socket too, so it is
// no longer than path where there is no room.
func asideOf(path string) string {
	name := path + "." + rand.Text()[:8]
	if dir, base := filepath.Split(path); len(name) > longest() && len(base) >= 6 {
		name = dir + rand.Text()[:min(len(base), 16)]
	}
	return name
}

// PutBack moves what is no stale socket back to its place. If yet another file has
// appeared there, that one is right.
func PutBack(aside, path string) error {
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
