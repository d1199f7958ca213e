package handoff

import "sync"

// InheritOptions says how Inherit reads the environment. The zero value works.
type InheritOptions struct {
	// RequirePID refuses the dialect without a pid, which systemfd --no-pid
	// writes: LISTEN_PID unset then means that nothing was passed, LISTEN_PID
	// empty is an error, as in sd_listen_fds(3). Set it where a parent that knows nothing of the
	// protocol may have left LISTEN_FDS in the environment without the
	// descriptors. No effect on Windows.
	RequirePID bool
}

// Inherit takes over the file descriptors that the service manager or the
// predecessor passed to this process, by the protocol of sd_listen_fds(3). With
// nothing passed, or passed to another process, it returns an empty Set and no
// error.
//
// Call it once, early in main, before anything that starts processes: until
// then the descriptors are not close-on-exec. Whoever calls it owns the Set,
// and ends it by Close.
//
// It reads these variables, and removes them whatever it returns, so that a
// later call or a child process finds nothing:
//
//   - LISTEN_PID: the process that is meant. Another one: an empty Set. Unset or
//     empty: any process, unless RequirePID.
//   - LISTEN_PIDFDID (systemd 259): the same by the inode number of the
//     process's pidfd, ignored where the kernel doesn't tell it.
//   - LISTEN_FDS: how many descriptors, 1 or more.
//   - LISTEN_FDS_FIRST_FD (systemfd): the number of the first, 3 unless said.
//   - LISTEN_FDNAMES: their names, with colons between; as many as descriptors.
//     Without it each is named "unknown".
//
// A malformed value is an [EnvError], and so is a descriptor that isn't open or
// that can't have come through exec, as it is close-on-exec already: an old
// LISTEN_FDS must not give away what this process itself has opened. On an
// error nothing is closed; the descriptors that LISTEN_FDS speaks of are made
// close-on-exec where it can be read, and no child gets them.
//
// On Windows the protocol is systemfd's (SYSTEMFD_SOCKET_SERVER and
// SYSTEMFD_SOCKET_SECRET, removed likewise), on systems that are neither Unix
// nor Windows nothing is ever passed.
func Inherit(opts InheritOptions) (*Set, error) {
	inheriting.Lock()
	defer inheriting.Unlock()
	return inherit(opts)
}

// inheriting lets one of two calls at once find the variables, not both.
var inheriting sync.Mutex
