//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package unixpath

import (
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Lock keeps other processes that start from binding a unix socket in
// path's directory meanwhile: between bind(2) and listen(2) a socket can't be
// told from a stale one. Where the directory can't be locked, as one that may not
// be read, or when somebody holds on to the lock, it goes on without.
func Lock(path string) (unlock func()) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return func() {}
	}
	raw, err := dir.SyscallConn()
	if err != nil {
		return func() { dir.Close() }
	}
	const patience, step = 2 * time.Second, 2 * time.Millisecond
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(step) {
		var lerr error
		cerr := raw.Control(func(fd uintptr) { lerr = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB) })
		if cerr != nil || lerr != syscall.EWOULDBLOCK && lerr != syscall.EINTR {
			break
		}
	}
	return func() { dir.Close() } // and with it the lock
}
