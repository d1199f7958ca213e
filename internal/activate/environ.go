package activate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// SD_LISTEN_FDS_START of sd_listen_fds(3).
const firstFD = 3

// unnamed is what a reader takes a socket to be called where there are no names.
const unnamed = "unknown"

// stale variables are meant for one process alone, and never passed on.
var stale = []string{
	"LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_FDS_FIRST_FD",
	"SYSTEMFD_SOCKET_SERVER", "SYSTEMFD_SOCKET_SECRET", "HANDOFF_STAGE", "HANDOFF_LINK",
	"REMOTE_ADDR", "REMOTE_PORT",
}

// manager variables make the main process of a service, which one of many programs is
// not.
var manager = []string{"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "FDSTORE", "MAINPID", "SYSTEMD_EXEC_PID"}

// kept is what systemd-socket-activate keeps of the environment.
var kept = []string{"TERM", "COLORTERM", "NO_COLOR", "PATH", "USER", "HOME"}

// Environ is what the environment of a program is made of.
type Environ struct {
	Base  []string // this process's
	Clean bool     // keep only what systemd-socket-activate keeps
	Set   []string // VAR=VALUE; VAR alone has its value of Base, if there is one
	// Connection leaves out what is for the main process of a service.
	Connection bool
}

// Protected tells whether a variable is the protocol's, and not the user's to set.
func Protected(variable string) bool { return slices.Contains(stale[:9], variable) }

// With returns the environment, with the variables in more last of all.
func (e Environ) With(more ...string) []string {
	var out []string
	set := func(entry string) {
		key, _, _ := strings.Cut(entry, "=")
		out = append(slices.DeleteFunc(out, func(old string) bool { return strings.HasPrefix(old, key+"=") }), entry)
	}
	for _, entry := range e.Base {
		key, _, _ := strings.Cut(entry, "=")
		switch {
		case slices.Contains(stale, key):
		case e.Connection && slices.Contains(manager, key):
		case e.Clean && !slices.Contains(kept, key):
		default:
			out = append(out, entry)
		}
	}
	for _, entry := range e.Set {
		if strings.Contains(entry, "=") {
			set(entry)
			continue
		}
		for _, old := range e.Base {
			if strings.HasPrefix(old, entry+"=") {
				set(old)
			}
		}
	}
	for _, entry := range more {
		set(entry)
	}
	return out
}

// Sockets are the variables of sd_listen_fds(3) for sockets of these names, from
// descriptor first on. pid 0 leaves LISTEN_PID out, which only some readers accept.
// Where no socket has a name there is no LISTEN_FDNAMES. LISTEN_FDS_FIRST_FD is
// systemfd's.
func Sockets(names []string, first, pid int) []string {
	vars := []string{"LISTEN_FDS=" + strconv.Itoa(len(names))}
	if slices.ContainsFunc(names, func(name string) bool { return name != unnamed }) {
		vars = append(vars, "LISTEN_FDNAMES="+strings.Join(names, ":"))
	}
	if first != firstFD {
		vars = append(vars, fmt.Sprintf("LISTEN_FDS_FIRST_FD=%d", first))
	}
	if pid != 0 {
		vars = append(vars, fmt.Sprintf("LISTEN_PID=%d", pid))
	}
	return vars
}
