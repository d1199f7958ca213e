package supervise

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/internal/supervise/internal/early"
	"golang.org/x/sys/unix"
)

// A holder upgrades itself by execve(2): process id, children and descriptors stay. What
// it knows goes along in a sealed memfd, whose number stands in one variable.

// stateVariable holds the number of the descriptor, and the pid that is meant.
const stateVariable = early.Variable

// CheckLine is what a program that can take over from a holder prints when it is called
// with Options.CheckArgs: the version of what it reads.
func CheckLine() string { return "handoff run state " + strconv.Itoa(stateVersion) }

// Resumed tells whether this process is a holder that has upgraded itself. It is to be
// asked before anything else: what the environment says of sockets was for the holder
// before.
func Resumed() bool {
	value, ok := os.LookupEnv(stateVariable)
	_, pid, _ := strings.Cut(value, " ")
	return ok && pid == strconv.Itoa(os.Getpid())
}

// steady tells whether nothing is under way that could not go on in another process.
func (h *Holder) steady() bool {
	for _, w := range h.workers {
		switch w.machine.phase {
		case phaseServing, phaseBackoff, phaseEnded:
		default:
			return false
		}
	}
	return h.ending == 0 && len(h.commands) == 0
}

// checkWait is how long the new program may take to say that it can take over.
const checkWait = 20 * time.Second

// becomeNew upgrades the holder itself. Nothing changes when that fails.
func (h *Holder) becomeNew() {
	if h.checked {
		h.checked = false
		h.becomeNewWithout()
		return
	}
	if h.checking || h.closing {
		return
	}
	h.checking = true
	h.checkProgram(func(err error) {
		h.checking = false
		if err != nil {
			h.log("the holder's own upgrade has failed, and nothing has changed: %v", err)
			return
		}
		h.checked, h.reexec = true, true
	})
}

// checkProgram starts the new program once, to see that it runs and knows the state.
func (h *Holder) checkProgram(result func(error)) {
	path := h.opt.Program
	reading, writing, err := os.Pipe()
	if err != nil {
		result(err)
		return
	}
	defer writing.Close()
	cmd := &exec.Cmd{Path: path, Args: append([]string{os.Args[0]}, h.opt.CheckArgs...), Stdout: writing, Stderr: writing}
	pid, err := h.startCommand(cmd, func(unix.WaitStatus) {})
	if err != nil {
		reading.Close()
		result(err)
		return
	}
	_ = reading.SetReadDeadline(time.Now().Add(checkWait))
	go func() {
		defer reading.Close()
		output, err := io.ReadAll(io.LimitReader(reading, 4<<10))
		h.post(func() {
			h.endCommand(pid)
			result(judgeCheck(path, output, err))
		})
	}()
}

// startCommand starts what is no copy of the program, in a group of its own, and calls
// ended when it has ended.
func (h *Holder) startCommand(cmd *exec.Cmd, ended func(unix.WaitStatus)) (pid int, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if h.stopping {
		return 0, errors.New("the holder is stopping")
	}
	if err := h.spawn(cmd, nil); err != nil {
		return 0, err
	}
	pid = cmd.Process.Pid
	_ = cmd.Process.Release()
	h.commands[pid] = true
	h.children[pid] = func(status unix.WaitStatus) {
		delete(h.commands, pid)
		ended(status)
	}
	return pid, nil
}

// endCommand ends it if it still runs.
func (h *Holder) endCommand(pid int) {
	if h.commands[pid] {
		_ = unix.Kill(-pid, unix.SIGKILL)
	}
}

func judgeCheck(path string, output []byte, err error) error {
	text := strings.TrimSpace(string(output))
	switch {
	case err != nil:
		return fmt.Errorf("%s does not say whether it can take over: %w", path, err)
	case text == "":
		return fmt.Errorf("%s has ended without a word on whether it can take over", path)
	case text != CheckLine():
		return fmt.Errorf("%s can't take over: want %q, it says %q", path, CheckLine(), text)
	}
	return nil
}

// processes are all copies that have not ended.
func (h *Holder) processes() (all []*process) {
	for _, w := range h.workers {
		for _, c := range []*process{w.main, w.next} {
			if c != nil && !h.leaving[c] {
				all = append(all, c)
			}
		}
	}
	for c := range h.leaving {
		all = append(all, c)
	}
	return all
}

// unblockable are the signals that a Go program unblocks when it starts, and that end it
// until it says that it wants them. So they are ignored from shortly before execve(2) until
// package early says so for the new program: one of them that comes in those few
// milliseconds is lost, where it would end the holder. All others wait.
var unblockable = []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT}

// settleSignals is how long the Go runtime may need to hand over a signal that it has
// taken.
const settleSignals = time.Millisecond

// exec becomes the new program, and returns only on errors.
func (h *Holder) exec() error {
	defer h.unpause()
	if err := h.pause(); err != nil {
		return err
	}
	for len(h.later) > 0 { // what has come meanwhile
		f := h.later[0]
		h.later = h.later[1:]
		f()
	}
	if !h.steady() || h.roll != nil || h.rollAgain || h.stopping {
		h.checked, h.reexec = true, true // something has come between
		return nil
	}
	h.manager.flush()

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, mine unix.Sigset_t
	signal.Ignore(unblockable...)
	defer signal.Notify(h.signals, allSignals()...)
	time.Sleep(settleSignals)
	for _, sig := range allSignals() {
		n := uint(sig.(syscall.Signal)) - 1
		all.Val[n/64] |= 1 << (n % 64)
	}
	// A signal that comes from now on waits for the new program: this thread is the only
	// one that is left after execve(2), with its mask.
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &all, &mine); err != nil {
		return os.NewSyscallError("pthread_sigmask", err)
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &mine, nil)
	state, fds := h.state(&mine)
	defer func() {
		for _, sig := range state.Signals { // they were taken
			h.soon(func() { h.signalled(sig) })
		}
	}()
	file, err := state.write()
	if err != nil {
		return err
	}
	defer unix.Close(file)
	fds = append(fds, file)
	defer setCloseOnExec(fds, true)
	if err := setCloseOnExec(fds, false); err != nil {
		return err
	}
	env := append(os.Environ(), stateVariable+"="+strconv.Itoa(file)+" "+strconv.Itoa(os.Getpid()))
	h.log("becoming %s", h.opt.Program)
	err = syscall.Exec(h.opt.Program, os.Args, env)
	return &os.PathError{Op: "exec", Path: h.opt.Program, Err: err}
}

func setCloseOnExec(fds []int, on bool) error {
	flag := 0
	if on {
		flag = unix.FD_CLOEXEC
	}
	for _, fd := range fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, flag); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
	}
	return nil
}

// sealed is a memfd with data that nobody can change any more.
func sealed(data []byte) (int, error) {
	fd, err := unix.MemfdCreate("handoff-run-state", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return -1, os.NewSyscallError("memfd_create", err)
	}
	for rest := data; len(rest) > 0; {
		n, err := unix.Write(fd, rest)
		if err != nil {
			unix.Close(fd)
			return -1, os.NewSyscallError("write", err)
		}
		rest = rest[n:]
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("fcntl", err)
	}
	return fd, nil
}

// readSealed reads what sealed has written, and closes it.
func readSealed(fd int) ([]byte, error) {
	f := os.NewFile(uintptr(fd), "state")
	if f == nil {
		return nil, unix.EBADF
	}
	defer f.Close()
	var buf bytes.Buffer
	_, err := io.Copy(&buf, io.NewSectionReader(f, 0, 1<<24))
	return buf.Bytes(), err
}
