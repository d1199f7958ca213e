//go:build unix

package stage

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Order is what a parent asks of the stage.
type Order struct {
	// Path is the file to execute. A relative one is taken from the child's
	// working directory.
	Path string
	// Report is the descriptor, the child's highest, on which a failure to
	// execute Path is reported: the errno in decimal. It is close-on-exec, so
	// success is an end of file without a byte. Descriptors above it are closed.
	Report int
	// Listen tells whether LISTEN_PID is to be written.
	Listen bool
	// InPlace: Path is what runs already, for it is built with this package. It
	// need not be executed once more, unless a descriptor has to be closed of which
	// nobody can tell whether it came from the parent or was opened by this
	// program's C libraries: an execve is right in both cases.
	InPlace bool
}

// The bits of an order.
const (
	listenBit = 1 << iota
	inPlaceBit
)

// Encode returns the environment entry that makes a process a stage.
func (o Order) Encode() string {
	bits := 0
	if o.Listen {
		bits |= listenBit
	}
	if o.InPlace {
		bits |= inPlaceBit
	}
	return Variable + "=" + strconv.Itoa(o.Report) + " " + strconv.Itoa(bits) + " " + o.Path
}

func decode(value string) (o Order, ok bool) {
	report, rest, _ := strings.Cut(value, " ")
	flags, path, ok := strings.Cut(rest, " ")
	if !ok || path == "" {
		return o, false
	}
	fd, err := strconv.Atoi(report)
	if err != nil || fd < 3 {
		return o, false
	}
	bits := strings.Index("0123", flags)
	if len(flags) != 1 || bits < 0 {
		return o, false
	}
	return Order{Path: path, Report: fd, Listen: bits&listenBit != 0, InPlace: bits&inPlaceBit != 0}, true
}

// Exit codes of a stage that did not become its target, after the shell's.
const (
	exitRefused = 126
	exitFailed  = 127
)

// setuid is read before the program can change its ids, see Setuid.
var setuid = syscall.Getuid() != syscall.Geteuid() || syscall.Getgid() != syscall.Getegid()

// Setuid tells whether this process was started with another user's or group's
// id than its caller's. Then the environment, the arguments and the descriptors are of
// somebody who has fewer rights, also after the program has changed its ids.
func Setuid() bool { return setuid }

func init() {
	value, ok := syscall.Getenv(Variable)
	if !ok {
		takeLink()
		return
	}
	if setuid {
		// To execute what the environment names would lend our privileges to
		// whoever started us.
		os.Exit(exitRefused)
	}
	o, ok := decode(value)
	if !ok {
		os.Exit(exitRefused)
	}
	if o.InPlace && !passed(o.Report) {
		os.Exit(exitRefused) // it may be the runtime's own
	}
	if o.InPlace && !leaked(o.Report+1) {
		settle(o.Listen)
		// The parent knows by it that this is a program of its own kind.
		syscall.Close(o.Report)
		takeLink()
		return
	}
	syscall.CloseOnExec(o.Report)
	closeOnExecFrom(o.Report + 1)
	err := syscall.Exec(o.Path, os.Args, environment(syscall.Environ(), o.Listen, syscall.Getpid()))
	report(o.Report, err)
	os.Exit(exitFailed)
}

// link is what Link returns.
var link struct {
	fd int
	ok bool
}

// takeLink reads which descriptor the link is, and makes it close-on-exec, as
// early as that can be.
func takeLink() {
	value, _ := syscall.Getenv(LinkVariable)
	link.fd, link.ok = parseLink(value, syscall.Getpid())
	switch {
	case !link.ok:
	case setuid:
		link.ok = false
	case !passed(link.fd):
		link.fd = -1
	default:
		syscall.CloseOnExec(link.fd)
	}
}

// passed tells whether a descriptor came through exec(2), which leaves none open
// that is close-on-exec. Others are this process's own, such as the runtime's epoll instance:
// to take one for the link, and close it, would be the program's end.
func passed(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil && flags&unix.FD_CLOEXEC == 0
}

// Link returns the descriptor of the link to the predecessor, if this process
// was given one: -1 if it is none that was passed to this process. In a setuid
// program there is none.
func Link() (fd int, ok bool) { return link.fd, link.ok }

// parseLink reads the variable in process pid.
func parseLink(value string, pid int) (fd int, ok bool) {
	number, owner, _ := strings.Cut(value, " ")
	if owner != strconv.Itoa(pid) {
		return 0, false
	}
	fd, err := strconv.Atoi(number)
	return fd, err == nil && fd > 2
}

// environment returns env as the target is to see it: each variable that names
// the pid of the process that it is meant for names this one.
func environment(env []string, listen bool, pid int) []string {
	lookup := func(key string) (string, bool) {
		for _, entry := range env {
			if k, value, _ := strings.Cut(entry, "="); k == key {
				return value, true
			}
		}
		return "", false
	}
	changes := changes(lookup, listen, pid)
	out := make([]string, 0, len(env)+2)
	for _, entry := range env {
		key, _, _ := strings.Cut(entry, "=")
		if !slices.ContainsFunc(changes, func(c change) bool { return c.key == key }) {
			out = append(out, entry)
		}
	}
	for _, c := range changes {
		if c.value != "" {
			out = append(out, c.key+"="+c.value)
		}
	}
	return out
}

// settle makes the same changes to the environment of this very process.
func settle(listen bool) {
	for _, c := range changes(syscall.Getenv, listen, syscall.Getpid()) {
		if c.value != "" {
			_ = syscall.Setenv(c.key, c.value) // the key is good
		} else {
			_ = syscall.Unsetenv(c.key)
		}
	}
}

// change is one to the environment. Without a value the variable goes.
type change struct{ key, value string }

// changes are those that make an environment mean process pid.
func changes(lookup func(string) (string, bool), listen bool, pid int) []change {
	own := strconv.Itoa(pid)
	when := func(condition bool, value string) string {
		if condition {
			return value
		}
		return ""
	}
	_, watchdog := lookup("WATCHDOG_USEC")
	_, systemd := lookup("SYSTEMD_EXEC_PID")
	link, linked := lookup(LinkVariable)
	return []change{
		{Variable, ""},
		{"LISTEN_PIDFDID", ""},
		{"LISTEN_PID", when(listen, own)},
		{"WATCHDOG_PID", when(watchdog, own)},
		{"SYSTEMD_EXEC_PID", when(systemd, own)},
		{LinkVariable, when(linked, link+" "+own)},
	}
}

func report(fd int, err error) {
	errno, ok := err.(syscall.Errno)
	if !ok {
		errno = syscall.EINVAL
	}
	// A parent that is gone has no use for it.
	_, _ = syscall.Write(fd, []byte(strconv.Itoa(int(errno))))
}
