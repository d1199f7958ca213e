//go:build unix

package stage

import (
	"os"
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
}

// Encode returns the environment entry that makes a process a stage.
func (o Order) Encode() string {
	listen := "0"
	if o.Listen {
		listen = "1"
	}
	return Variable + "=" + strconv.Itoa(o.Report) + " " + listen + " " + o.Path
}

func decode(value string) (o Order, ok bool) {
	report, rest, _ := strings.Cut(value, " ")
	listen, path, ok := strings.Cut(rest, " ")
	if !ok || path == "" {
		return o, false
	}
	fd, err := strconv.Atoi(report)
	if err != nil || fd < 3 {
		return o, false
	}
	return Order{Path: path, Report: fd, Listen: listen == "1"}, true
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
	own := strconv.Itoa(pid)
	out := make([]string, 0, len(env)+2)
	watchdog := false
	for _, entry := range env {
		key, value, _ := strings.Cut(entry, "=")
		switch key {
		case Variable, "LISTEN_PID", "LISTEN_PIDFDID", "WATCHDOG_PID":
			continue
		case LinkVariable:
			entry = LinkVariable + "=" + value + " " + own
		case "SYSTEMD_EXEC_PID":
			entry = key + "=" + own
		case "WATCHDOG_USEC":
			watchdog = true
		}
		out = append(out, entry)
	}
	if listen {
		out = append(out, "LISTEN_PID="+own)
	}
	if watchdog {
		out = append(out, "WATCHDOG_PID="+own)
	}
	return out
}

func report(fd int, err error) {
	errno, ok := err.(syscall.Errno)
	if !ok {
		errno = syscall.EINVAL
	}
	// A parent that is gone has no use for it.
	_, _ = syscall.Write(fd, []byte(strconv.Itoa(int(errno))))
}
