package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/handoff-dev/handoff/internal/terminal"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// run is the whole command but for the process: it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	// Errors that come before a command's own code are of how it was called.
	called := false
	root := newRoot(func() { called = true })
	root.SetArgs(args)
	root.SetIn(stdin)
	// Whatever a command quotes, nothing of it acts on the terminal.
	out, errs := terminal.NewWriter(stdout), terminal.NewWriter(stderr)
	finish := func(last func()) { last() }
	defer func() {
		finish(func() { out.Flush(); errs.Flush() })
	}()
	root.SetOut(out)
	root.SetErr(errs)

	cmd, err := root.ExecuteContextC(ctx)
	if cmd.Name() == "run" {
		finish = inTime // it ends when it is told to, though nobody reads its output
	}
	if err == nil {
		return exitOK
	}
	code := exitFailed
	var usage usageError
	if !called || errors.As(err, &usage) {
		code = exitUsage
	}
	var coded codeError
	if errors.As(err, &coded) {
		code = coded.code
		if coded.error == nil {
			return code // all has been said
		}
	}
	hint := ""
	var hinted hintError
	switch {
	case errors.As(err, &hinted):
		hint = hinted.hint
	case code == exitUsage:
		hint = fmt.Sprintf("see '%s --help'", cmd.CommandPath())
	}
	finish(func() {
		fmt.Fprintf(errs, "error: %v\n", err)
		if hint != "" {
			fmt.Fprintf(errs, "hint: %s\n", hint)
		}
	})
	return code
}

// inTime waits for do for flushWait at most.
func inTime(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
	case <-time.After(flushWait):
	}
}

func newRoot(called func()) *cobra.Command {
	root := &cobra.Command{
		Use:   "handoff",
		Short: "Replace a running server by its next version without losing a request",
		Long: `Replace a running server by its next version without losing a request.

Exit codes: 0 all went well, 1 something failed, 2 called wrongly. A command with
more of them says so in its help: doctor, prove, status and upgrade have 3 and 4, exec and run 125 to 127 and those
of the program.`,
		SilenceErrors:    true,
		SilenceUsage:     true,
		PersistentPreRun: func(*cobra.Command, []string) { called() },
	}
	root.AddCommand(newDoctor(), newExec(), newInspect(), newMan(), newRun(), newStatus(), newUnit(), newUpgrade(), newVersion())
	root.AddCommand(workshop()...)
	return root
}

// hintError is an error about which something can be done.
type hintError struct {
	error
	hint string
}

func (e hintError) Unwrap() error { return e.error }

// withHint adds to err what to do about it.
func withHint(err error, hint string) error { return hintError{err, hint} }

// usageError is about the way in which the command was called, found out only
// after its flags were read.
type usageError struct{ error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// codeError asks for an exit code of a command's own. Without an error in it the
// code is all that is left to say.
type codeError struct {
	error
	code int
}

func (e codeError) Unwrap() error { return e.error }
