package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/latelog"
	"github.com/handoff-dev/handoff/internal/spec"
	"github.com/handoff-dev/handoff/internal/supervise"
	"github.com/handoff-dev/handoff/internal/terminal"
)

// runOptions are the flags of "handoff run".
type runOptions struct {
	listen  specTexts
	ready   string
	signal  string
	restart string
	check   bool
	control string
	hold    supervise.Options

	controlSet bool // --control was given
}

func newRun() *cobra.Command {
	var opt runOptions
	cmd := &cobra.Command{
		Use:   "run [flags] -- PROGRAM [ARGUMENT]...",
		Short: "Hold the sockets of a program and swap the program behind them",
		Long: `Hold the sockets of a program and swap the program behind them.

It opens the sockets, takes those that it was given by LISTEN_FDS, and gives all of
them to the program: sd_listen_fds(3). It keeps them, and its process id, until the
end. On SIGHUP it starts the program anew from the file that is on disk now, waits
until the new copy is ready, lets both serve for the probation, and asks the old one
to stop. If the new copy fails, the old one has been serving all along.

  handoff run -l http::8080 -- /usr/bin/app
  handoff run -l 8080 --ready http=/healthz --workers 4 -- gunicorn app:app

A copy is ready, by --ready,
  notify         when it says READY=1: sd_notify(3)
  after=1s       when it has lived for so long
  http=/healthz  when it answers with a status of 2xx or 3xx; it alone is asked, and not
                 the old copy
  exec=COMMAND   when the shell's command exits with 0; in its environment HANDOFF_PID is
                 the copy, and HANDOFF_ADDRESS a host:port at which it alone answers
  auto           by notify if the program speaks that, else after=1s (the default)

Signals: HUP replaces the program, USR2 the holder itself by its file on disk, TERM and
INT stop. Others are passed on to the program.

It has a control socket, at --control PATH or by default in $RUNTIME_DIRECTORY, else in
$XDG_RUNTIME_DIR/handoff, else, for root, in /run/handoff. By it 'handoff upgrade --pid
PID' swaps the program and says how that went, and 'handoff status --pid PID' shows how
things are; PID is the holder's.

Exit codes: the program's own, 128 and the number of the signal that ended it; 2 called
wrongly, 125 the holder failed, or the program was not ready in time, 126 the program
can't be executed, 127 there is none of that name.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			opt.controlSet = cmd.Flags().Changed("control")
			return runRun(cmd, opt, args)
		},
	}
	f := cmd.Flags()
	f.VarP(&opt.listen, "listen", "l", "open the socket `SPEC`, see 'handoff exec --help'; may be repeated")
	f.IntVar(&opt.hold.Workers, "workers", 1, "how many copies serve; they are replaced one at a time")
	f.StringVar(&opt.ready, "ready", "auto", "how a copy is known to be ready, `HOW` as above")
	f.StringVar(&opt.hold.ReadyHost, "ready-host", "", "with --ready http=: the `HOST` that is asked for (default: the socket's address, or localhost)")
	f.DurationVar(&opt.hold.ReadyTimeout, "ready-timeout", time.Minute, "how long a copy may take to be ready")
	f.DurationVar(&opt.hold.Probation, "probation", time.Second, "how long both copies serve before the old one is asked to stop")
	f.StringVar(&opt.signal, "stop-signal", "TERM", "the `SIGNAL` that asks a copy to stop")
	f.DurationVar(&opt.hold.StopTimeout, "stop-timeout", time.Minute, "how long a copy may take to stop before it is killed")
	f.StringVar(&opt.restart, "restart", "on-failure", "after which end to start the program anew: on-failure, always or never")
	f.DurationVar(&opt.hold.BackoffMax, "backoff", 30*time.Second, "how long to wait before that at most")
	f.StringArrayVar(&opt.hold.EnvFiles, "env-file", nil, "read variables from `FILE`, anew at each start; may be repeated")
	f.StringSliceVar(&opt.hold.Compat, "compat", nil, "set the variables of other holders too: "+strings.Join(supervise.Compats, ", "))
	f.StringVar(&opt.control, "control", "", "open the control socket at `PATH`; none: open none (default: run-PID.sock in the runtime directory)")
	f.BoolVar(&opt.hold.DirectStderr, "direct-stderr", false, "let the program write to this command's standard error itself")
	f.BoolVar(&opt.check, "check-reexec", false, "say whether this program can take over from a holder")
	_ = f.MarkHidden("check-reexec")
	f.SetInterspersed(false) // what follows the program is the program's
	return cmd
}

func runRun(cmd *cobra.Command, opt runOptions, args []string) error {
	specs, err := opt.read(args)
	if err != nil {
		return err
	}
	if opt.check {
		fmt.Fprintln(cmd.OutOrStdout(), supervise.CheckLine())
		return nil
	}
	if len(specs) == 0 && os.Getenv("LISTEN_FDS") == "" && !supervise.Resumed() {
		return noSocket()
	}
	var flush func()
	opt.hold.Log, flush = logLate(cmd.ErrOrStderr())
	defer flush()
	opt.placeControl()
	discard := func() {}
	if !supervise.Resumed() {
		if opt.hold.Sockets, discard, err = holdSockets(cmd.Context(), specs); err != nil {
			return err
		}
	}
	if isTTY(os.Stderr) {
		opt.hold.DirectStderr = true
	}
	holder, err := supervise.New(opt.hold)
	if err != nil {
		discard()
		return codeError{err, exitExecFailed}
	}
	if cmd.Context().Err() != nil { // told to stop before there was anything to stop
		discard()
		return codeError{nil, 128 + int(syscall.SIGTERM)}
	}
	// The holder's signals are its own to act on.
	code, err := holder.Run(context.WithoutCancel(cmd.Context()))
	if errors.Is(err, syscall.EADDRINUSE) { // the control socket's
		err = withHint(err, "another process listens there, or a file that is no socket is in its place; --control PATH names another")
	}
	if err != nil {
		return codeError{err, code}
	}
	if code != 0 {
		return codeError{nil, code}
	}
	return nil
}

// read is about the flags and the arguments.
func (o *runOptions) read(args []string) (specs []spec.Spec, err error) {
	if len(args) == 0 {
		return nil, usagef("the program is missing")
	}
	o.hold.Args = args
	for _, text := range o.listen {
		s, err := spec.Parse(text)
		if err != nil {
			return nil, usageError{err}
		}
		specs = append(specs, s)
	}
	if o.hold.Ready, err = supervise.ParseReady(o.ready); err != nil {
		return nil, usageError{fmt.Errorf("--ready %w", err)}
	}
	if o.hold.StopSignal, err = parseSignal(o.signal); err != nil {
		return nil, usageError{fmt.Errorf("--stop-signal %w", err)}
	}
	o.hold.Restart = supervise.Restart(o.restart)
	if o.hold.Probation == 0 {
		o.hold.Probation = -1
	}
	switch {
	case o.hold.Workers < 1:
		return nil, usagef("--workers is %d: want 1 or more", o.hold.Workers)
	case o.hold.ReadyTimeout <= 0 || o.hold.StopTimeout <= 0 || o.hold.BackoffMax <= 0:
		return nil, usagef("--ready-timeout, --stop-timeout and --backoff want more than 0")
	}
	if err := o.hold.Check(); err != nil {
		return nil, usageError{err}
	}
	o.hold.Program = ownProgram()
	o.hold.CheckArgs = checkArgs(os.Args)
	return specs, nil
}

// ownProgram is where this program lies, by the name that it was called by: a link that
// is moved to another version leads to that.
func ownProgram() string {
	if path, err := exec.LookPath(os.Args[0]); err == nil {
		if path, err = filepath.Abs(path); err == nil {
			return path
		}
	}
	path, _ := os.Executable()
	return path
}

// checkArgs are the arguments with which this command would be called, with one more.
func checkArgs(args []string) []string {
	for i, arg := range args {
		if i > 0 && arg == "run" {
			return append(append(append([]string{}, args[1:i+1]...), "--check-reexec"), args[i+1:]...)
		}
	}
	return nil
}

// holdSockets takes over what LISTEN_FDS gave to this process, and opens the rest.
func holdSockets(ctx context.Context, specs []spec.Spec) (all []supervise.Socket, discard func(), err error) {
	set, err := handoff.Inherit(handoff.InheritOptions{})
	if err != nil {
		return nil, nil, codeError{withHint(err, "it is the fault of what started this command, or left over from it"), exitExecFailed}
	}
	for e := range set.All() {
		f, err := set.File(handoff.ByIndex(e.Index))
		if err != nil {
			return nil, nil, codeError{err, exitExecFailed}
		}
		all = append(all, supervise.Socket{File: handoff.File{Name: e.Name, Conn: f}, Addr: e.Addr})
	}
	opened, err := spec.Open(ctx, specs)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			err = withHint(err, "another process has the address: 'ss -lxp' and 'ss -ltup' say which")
		}
		return nil, nil, codeError{err, exitExecFailed}
	}
	for _, s := range opened {
		socket := supervise.Socket{File: s.File, Addr: s.Addr}
		if s.Spec.Path() {
			socket.Path = s.Addr.String()
		}
		all = append(all, socket)
	}
	if len(all) == 0 {
		return nil, nil, noSocket()
	}
	return all, func() {
		for _, s := range opened {
			_ = s.Discard()
		}
	}, nil
}

func noSocket() error {
	return withHint(usagef("there is no socket to hold"), "open one by --listen, such as -l 8080")
}

// flushWait is how long lines that nobody reads are waited for at the end.
const flushWait = time.Second

func logLines(w io.Writer) func(string) {
	return func(line string) { fmt.Fprintf(w, "handoff: %s\n", terminal.Text(line)) }
}

// logLate is logLines without a wait for a reader of w; flush waits for a moment until all
// is written.
func logLate(w io.Writer) (log func(string), flush func()) {
	write := logLines(w)
	queue := &latelog.Queue{Dropped: func(n int) { write(fmt.Sprintf("%d lines are lost: nobody has read what was before them", n)) }}
	return func(line string) { queue.Do(func() { write(line) }) }, func() { queue.Flush(flushWait) }
}
