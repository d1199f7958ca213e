//go:build unix

package handoff

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/stage"
	"github.com/handoff-dev/handoff/handoff/internal/startdir"
	"golang.org/x/sys/unix"
)

func export(cmd *exec.Cmd, files []File) error {
	if err := checkFiles(files); err != nil {
		return err
	}
	duplicates := make([]*os.File, 0, len(files))
	defer func() { closeAll(duplicates) }()
	for _, f := range files {
		d, err := dupFile(f)
		if err != nil {
			return err
		}
		duplicates = append(duplicates, d)
	}
	return startExporting(cmd, duplicates, nil)
}

// startExporting starts cmd with files, which have their names, and with the
// child's end of a link, which may be nil.
func startExporting(cmd *exec.Cmd, files []*os.File, link *os.File) error {
	self, err := ownExecutable()
	if err != nil {
		return err
	}
	return startStage(cmd, self, files, link)
}

// startKin is startExporting for a program that is built with this package: it is
// its own stage. If it turns out to be another one, and is alive, it is ended, and the
// error is errSilent.
func startKin(cmd *exec.Cmd, files []*os.File, link *os.File) error {
	return startStage(cmd, "", files, link)
}

// startStage starts program, which has a stage, in the place of cmd's; "" is
// cmd's own.
func startStage(cmd *exec.Cmd, program string, files []*os.File, link *os.File) error {
	if cmd.Err != nil {
		return cmd.Err
	}
	if len(cmd.ExtraFiles) > 0 {
		return errors.New("handoff: export: cmd.ExtraFiles is not empty; pass them as files")
	}
	// An id that has changed since the start helps no more: arguments and file names
	// came from the caller as well.
	if stage.Setuid() || syscall.Getuid() != syscall.Geteuid() || syscall.Getgid() != syscall.Getegid() {
		return fmt.Errorf("handoff: export: %w: this process runs with another user's or group's id than its caller's (setuid), where the environment can't be trusted", ErrUnsupported)
	}
	extra := slices.Clone(files)
	env := exportEnv(cmd.Environ(), files)
	if link != nil {
		env = append(env, stage.LinkVariable+"="+strconv.Itoa(3+len(extra)))
		extra = append(extra, link)
	}
	reading, writing, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("handoff: export: %w", err)
	}
	defer reading.Close()
	order := stage.Order{Path: cmd.Path, Report: 3 + len(extra), Listen: len(files) > 0, InPlace: program == ""}
	extra = append(extra, writing)
	env = append(env, order.Encode())
	if program == "" {
		program = cmd.Path
	}

	err = startAs(cmd, program, env, extra)
	writing.Close()
	if wrong := (*fs.PathError)(nil); errors.As(err, &wrong) {
		switch {
		case wrong.Path == program:
			return startFault(cmd, program, wrong.Err)
		case wrong.Op == "chdir":
			return wrong // os.StartProcess has looked
		}
	}
	if err != nil {
		return fmt.Errorf("handoff: export: %w", err)
	}
	if order.InPlace {
		_ = reading.SetReadDeadline(time.Now().Add(kinWait))
	}
	return stageResult(cmd, reading)
}

// startFault says why a start has failed whose error names program. The child changes to
// its directory before it executes anything, and the error doesn't tell the two apart.
func startFault(cmd *exec.Cmd, program string, cause error) error {
	if fault := startdir.Fault(cmd.Dir, cause); fault != nil {
		return fault
	}
	if _, err := os.Lstat(program); program == procSelf && err != nil {
		return fmt.Errorf("handoff: export: exec %s: %w: this process sees no /proc, by which it starts others; mount it (in a unit MountAPIVFS=yes, in a chroot mount -t proc proc DIRECTORY/proc)", program, cause)
	}
	// E2BIG, EAGAIN, ENOMEM: no matter of the stage's. ENOENT and the like: of
	// cmd's own file.
	return &fs.PathError{Op: "exec", Path: cmd.Path, Err: cause}
}

// kinWait is how long a program that is built with this package may take until its
// first package-level code says so.
var kinWait = 5 * time.Second

// errSilent: it has not said so.
var errSilent = errors.New("handoff: the program is not built with this package, though its file says so")

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// startAs starts cmd with another executable, environment and files than it
// names, and leaves it as it was but for what Start sets.
func startAs(cmd *exec.Cmd, path string, env []string, files []*os.File) error {
	asPath, asEnv := cmd.Path, cmd.Env
	cmd.Path, cmd.Env, cmd.ExtraFiles = path, env, files
	defer func() { cmd.Path, cmd.Env, cmd.ExtraFiles = asPath, asEnv, nil }()
	return cmd.Start()
}

// stageResult waits until the stage has become its target, and returns why it
// could not.
func stageResult(cmd *exec.Cmd, report io.Reader) error {
	text, err := io.ReadAll(report)
	if err == nil && len(text) == 0 {
		return nil
	}
	silent := errors.Is(err, os.ErrDeadlineExceeded)
	if silent {
		_ = cmd.Process.Kill()
	}
	// The stage is ending by itself; a plain Wait would wait for cmd's
	// descendants too, of which there are none.
	werr := cmd.Wait()
	if silent {
		return errSilent
	}
	if err != nil {
		return fmt.Errorf("handoff: export of %s: %w", cmd.Path, err)
	}
	number, err := strconv.Atoi(string(text))
	if err != nil {
		return fmt.Errorf("handoff: export of %s: the stage reported %q: %w", cmd.Path, text, errors.Join(err, werr))
	}
	return &fs.PathError{Op: "exec", Path: cmd.Path, Err: syscall.Errno(number)}
}

// dupFile returns a close-on-exec duplicate of f's descriptor. It is not made
// by File or Fd, which would put the live socket into blocking mode for every
// holder; os.NewFile keeps the mode that it finds (see its documentation).
func dupFile(f File) (*os.File, error) {
	raw, err := f.Conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("handoff: export of %q: %w", f.Name, err)
	}
	var (
		fd   int
		derr error
	)
	err = raw.Control(func(from uintptr) {
		fd, derr = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 3)
	})
	if err != nil { // an *os.File has an error of its own for it
		return nil, fmt.Errorf("handoff: export of %q: %w", f.Name, os.ErrClosed)
	}
	if derr != nil {
		return nil, fmt.Errorf("handoff: export of %q: %w", f.Name, os.NewSyscallError("fcntl", derr))
	}
	return os.NewFile(uintptr(fd), f.Name), nil
}

const procSelf = "/proc/self/exe"

// ownExecutable returns a path to execute this very program again.
func ownExecutable() (string, error) {
	if runtime.GOOS == "linux" {
		// It goes on to work when the file was replaced or removed. It is the
		// child that resolves it: until its execve it is the same program.
		return procSelf, nil
	}
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("handoff: export: %w", err)
	}
	return path, nil
}
