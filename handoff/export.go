package handoff

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/handoff-dev/handoff/handoff/internal/stage"
)

// File is a descriptor and the name under which another process gets it.
type File struct {
	// Name is the descriptor's name, systemd's FileDescriptorName. It may be
	// empty and need not be unique. It may hold printable ASCII but no colon and
	// no backslash, at most 255 characters (sd_listen_fds(3) separates names by
	// colons and has no way to write one in a name).
	Name string
	// Conn is what holds the descriptor: a *net.TCPListener, *net.UnixListener,
	// *net.UDPConn, *net.TCPConn, *net.UnixConn, *os.File, or what
	// [Upgrader.Listen] and [Upgrader.ListenPacket] return. The receiver gets a
	// duplicate; Conn stays open here and stays as it was, non-blocking too. That flag
	// belongs to the socket (fcntl(2)), so the receiver's duplicate is non-blocking as
	// well: one that waits in accept(2) has to poll first.
	Conn syscall.Conn
}

// ErrBadName is wrapped by the error for a [File] whose name can't be written
// to LISTEN_FDNAMES.
var ErrBadName = errors.New("handoff: bad descriptor name")

// maxName is systemd's FDNAME_MAX.
const maxName = 255

// Export starts cmd, as cmd.Start does, with files as its descriptors 3, 4, …
// and with LISTEN_FDS, LISTEN_FDNAMES and LISTEN_PID telling it so, by the
// protocol of sd_listen_fds(3). Any program that systemd can activate is a
// valid cmd. It is the caller's to Wait for.
//
// The new process has its standard descriptors, those of files, and no other.
// WATCHDOG_PID (where WATCHDOG_USEC is set) and SYSTEMD_EXEC_PID name it; what
// was in the environment of the protocol for this process is taken out. With no
// files, no LISTEN_ variable is set.
//
// LISTEN_PID is the new process's pid, which nobody knows before it exists. So
// Export starts this process's own executable, which writes the variable and
// becomes cmd by execve(2). Two things follow. The program that calls Export
// has to import this package in the ordinary way, as it does. And a program that
// was started with another user's or group's id than its caller's (setuid, setgid)
// can't export, also after it has changed its ids; nor can one whose real and
// effective ids differ.
//
// Export returns when cmd's file was executed, or the error why not: an
// [*fs.PathError] with the path and the errno (ENOENT, EACCES, ENOEXEC, E2BIG, …), as
// cmd.Start would return it. Then no process is left. A bad name is
// [ErrBadName]. cmd.ExtraFiles must be empty: their place is taken. Where there
// is no execve(2), the error is [ErrUnsupported].
func Export(cmd *exec.Cmd, files ...File) error {
	return export(cmd, files)
}

func checkFiles(files []File) error {
	for i, f := range files {
		if err := checkName(f.Name); err != nil {
			return fmt.Errorf("handoff: export of file %d: %w", i, err)
		}
		if f.Conn == nil {
			return fmt.Errorf("handoff: export of file %d %q: it has no Conn", i, f.Name)
		}
	}
	return nil
}

func checkName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("%w: %q… has %d characters, at most %d are allowed", ErrBadName, name[:32], len(name), maxName)
	}
	for _, c := range []byte(name) {
		if c < ' ' || c > '~' || c == ':' || c == '\\' {
			return fmt.Errorf("%w: %q has the character %q; printable ASCII without colon and backslash is allowed", ErrBadName, name, rune(c))
		}
	}
	return nil
}

// listenVariables are the variables of the protocol, which mean one process
// only.
var listenVariables = []string{"LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_FDS_FIRST_FD"}

// exportEnv returns env with the protocol's variables for files, but for those that
// name a pid, which the stage writes: what they are for this process would be seen in
// /proc by who looks into the environment of the new one.
func exportEnv(env []string, files []*os.File) []string {
	out := make([]string, 0, len(env)+4)
	for _, entry := range env {
		key, _, _ := strings.Cut(entry, "=")
		if key == "SYSTEMD_EXEC_PID" {
			entry = key + "="
		}
		if !private(key) && key != "WATCHDOG_PID" {
			out = append(out, entry)
		}
	}
	if len(files) > 0 {
		names := make([]string, len(files))
		for i, f := range files {
			names[i] = f.Name()
		}
		out = append(out, "LISTEN_FDS="+strconv.Itoa(len(files)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	}
	return out
}

// private tells whether a variable is meant for one process alone and so is
// never passed on as it is.
func private(key string) bool {
	for _, v := range listenVariables {
		if key == v {
			return true
		}
	}
	return key == stage.Variable || key == stage.LinkVariable
}

// withoutVariable returns a copy of env in which a variable is not set.
func withoutVariable(env []string, key string) []string {
	out := make([]string, 0, len(env)+1)
	for _, entry := range env {
		if !strings.HasPrefix(entry, key+"=") {
			out = append(out, entry)
		}
	}
	return out
}
