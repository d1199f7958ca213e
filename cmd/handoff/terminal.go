package main

import (
	"io"
	"os"

	"github.com/handoff-dev/handoff/internal/terminal"
)

// isTerminal tells whether somebody sees what is written, and can be shown what moves.
func isTerminal(w io.Writer) bool {
	f, ok := bare(w).(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// bare returns the writer below one that keeps text from acting on the terminal: for
// what draws on it, which has to see to that itself, by [terminal.Line].
func bare(w io.Writer) io.Writer {
	if guarded, ok := w.(*terminal.Writer); ok {
		return guarded.Unwrap()
	}
	return w
}
