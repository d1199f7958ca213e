package spec

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

const hasAbstract = true

// beforeBirth has bind(2) make the file with mode at most. Linux takes it, less the
// umask, from the socket (net/unix/af_unix.c, unix_bind_bsd); where not, nothing is
// lost, for setFile comes before listen(2).
func beforeBirth(fd int, mode os.FileMode) { _ = unix.Fchmod(fd, uint32(mode)) }

// setFile gives the file at path, which must be the socket made, its mode and owner. It
// works on a descriptor of the file, so that nothing that comes to lie at path instead
// is touched, nor what that leads to.
func setFile(path string, made os.FileInfo, mode os.FileMode, who owners) error {
	if mode == 0 && who == (owners{-1, -1}) {
		return nil
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(info, made) || info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s was replaced by something else", path)
	}
	if who != (owners{-1, -1}) {
		if err := unix.Fchownat(fd, "", who.uid, who.gid, unix.AT_EMPTY_PATH); err != nil {
			return &os.PathError{Op: "chown", Path: path, Err: err}
		}
	}
	if mode != 0 {
		// fchmod(2) takes no O_PATH descriptor.
		if err := unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), uint32(mode)); err != nil {
			return &os.PathError{Op: "chmod", Path: path, Err: err}
		}
	}
	return nil
}
