package supervise

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// EndError is the end of a copy that was not asked for, or that followed from a failure.
type EndError struct {
	Copy   string // "generation 2 (pid 123)"
	Status unix.WaitStatus
	Ready  bool     // it had been ready
	Said   string   // the last STATUS of sd_notify(3)
	Tail   []string // the last lines of its standard error, where it had not proven itself
	Cause  error    // why it was given up; nil: it has ended by itself
}

// ExitCode is the status as a shell has it.
func (e *EndError) ExitCode() int {
	switch {
	case e.Cause != nil:
		return exitHolderFailed
	case e.Status.Signaled():
		return 128 + int(e.Status.Signal())
	}
	return e.Status.ExitStatus()
}

func (e *EndError) Error() string {
	var text strings.Builder
	text.WriteString(e.Copy)
	switch {
	case e.Cause != nil:
		fmt.Fprintf(&text, " %v", e.Cause)
	case e.Ready:
		fmt.Fprintf(&text, " has ended: %s", describe(e.Status))
	default:
		fmt.Fprintf(&text, " has ended before it was ready: %s", describe(e.Status))
	}
	if e.Said != "" {
		fmt.Fprintf(&text, "; it said %q", e.Said)
	}
	if len(e.Tail) > 0 {
		text.WriteString("; its standard error ended with")
		for _, line := range e.Tail {
			text.WriteString("\n  | " + line)
		}
	}
	return text.String()
}

func (e *EndError) Unwrap() error { return e.Cause }

func describe(status unix.WaitStatus) string {
	if status.Signaled() {
		return fmt.Sprintf("signal %v", unix.SignalName(status.Signal()))
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}
