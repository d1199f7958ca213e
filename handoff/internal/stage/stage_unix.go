//go:build unix

package stage

import (
	"os"
	"strconv"
	"strings"
	"syscall"
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

func init() {
	value, ok := syscall.Getenv(Variable)
	if !ok {
		guardLink()
		return
	}
	if syscall.Getuid() != syscall.Geteuid() || syscall.Getgid() != syscall.Getegid() {
		// In a setuid program the environment belongs to whoever started it:
		// to execute what it names would lend them our privileges.
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

// guardLink makes the link close-on-exec as early as that can be.
func guardLink() {
	if fd, ok := Link(); ok {
		syscall.CloseOnExec(fd)
	}
}

// Link returns the descriptor of the link to the predecessor, if this process
// was given one.
func Link() (fd int, ok bool) {
	value, _ := syscall.Getenv(LinkVariable)
	number, pid, _ := strings.Cut(value, " ")
	if pid != strconv.Itoa(syscall.Getpid()) {
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
