package notify

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ListenPath is Listen for a program of any kind: the socket is a file, as systemd's is,
// so that a sender in another network namespace reaches it. It is in a directory that
// only this user can write to; other users can send if this process is root, for what it
// starts may drop its privileges. Where there is no place for the file, it is Listen.
//
// Close removes the file. One that a killed process has left the next call removes.
func ListenPath() (*Receiver, error) {
	for _, parent := range []string{os.Getenv("XDG_RUNTIME_DIR"), "/run", os.TempDir()} {
		if !filepath.IsAbs(parent) || len(parent) > 60 { // sun_path has 108 bytes
			continue
		}
		dir := filepath.Join(parent, directory+strconv.Itoa(os.Geteuid()))
		for range 3 { // the last one out removes the directory
			r, err := listenInOwn(dir)
			if err == nil {
				return r, nil
			}
			if !errors.Is(err, os.ErrNotExist) {
				break
			}
		}
	}
	return Listen()
}

func listenInOwn(dir string) (*Receiver, error) {
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711
	}
	if err := os.Mkdir(dir, mode); err == nil {
		if err := os.Chmod(dir, mode); err != nil { // whatever the umask
			return nil, err
		}
	} else if !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || int(stat.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("%s is not this user's own", dir)
	}
	sweep(dir)
	path := filepath.Join(dir, rand.Text())
	r, err := listenAt(path)
	if err != nil {
		return nil, err
	}
	r.file = path
	mode = 0o600
	if os.Geteuid() == 0 {
		mode = 0o666
	}
	if err := os.Chmod(path, mode); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// leftBehind is how old a file is at least that is taken for one of a killed process: one
// is there an instant before its socket answers.
const leftBehind = 10 * time.Second

func sweep(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.Mode().Type() != os.ModeSocket || time.Since(info.ModTime()) < leftBehind {
			continue
		}
		path := filepath.Join(dir, e.Name())
		conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
		if err == nil {
			conn.Close()
		}
		if errors.Is(err, unix.ECONNREFUSED) {
			_ = os.Remove(path)
		}
	}
}
