package startdir

import "golang.org/x/sys/unix"

// effectively has faccessat(2) ask by the ids and capabilities that chdir(2) goes by.
const effectively = unix.AT_EACCESS

// present returns the directory in which this process stands, also where "." can't be
// looked up because the directory can't be entered.
func present() (f file, ok bool) {
	var st unix.Stat_t
	if err := unix.Fstatat(unix.AT_FDCWD, "", &st, unix.AT_EMPTY_PATH); err != nil {
		return file{}, false
	}
	return fileOf(&st), true
}
