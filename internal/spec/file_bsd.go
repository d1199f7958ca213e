//go:build unix && !linux

package spec

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const hasAbstract = false

// beforeBirth can't say the mode here; setFile does, before listen(2).
func beforeBirth(int, os.FileMode) {}

// setFile gives the file at path, which must be the socket made, its mode and owner. It
// follows no link that comes to lie there instead.
func setFile(path string, made os.FileInfo, mode os.FileMode, who owners) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !os.SameFile(info, made) || info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s was replaced by something else", path)
	}
	if who != (owners{-1, -1}) {
		if err := os.Lchown(path, who.uid, who.gid); err != nil {
			return err
		}
	}
	if mode != 0 {
		if err := unix.Fchmodat(unix.AT_FDCWD, path, uint32(mode), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return &os.PathError{Op: "chmod", Path: path, Err: err}
		}
	}
	return nil
}
