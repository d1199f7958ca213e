//go:build unix

package startdir

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// file tells one file from every other that exists at the time.
type file struct{ device, inode uint64 }

func fileOf(st *unix.Stat_t) file { return file{uint64(st.Dev), uint64(st.Ino)} }

// enter returns the directory that path leads to, if chdir(2) would succeed.
func enter(path string) (file, error) {
	var st unix.Stat_t
	for {
		err := unix.Stat(path, &st)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return file{}, err
		}
		break
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return file{}, syscall.ENOTDIR
	}
	return fileOf(&st), unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, effectively)
}
