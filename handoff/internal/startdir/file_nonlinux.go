//go:build unix && !linux

package startdir

import "golang.org/x/sys/unix"

// effectively is faccessat(2) as it is everywhere: by the real ids, which are the
// effective ones of a process that starts others.
const effectively = 0

// present returns the directory in which this process stands. In one that can't be
// entered it can't be told.
func present() (f file, ok bool) {
	var st unix.Stat_t
	if err := unix.Stat(".", &st); err != nil {
		return file{}, false
	}
	return fileOf(&st), true
}
