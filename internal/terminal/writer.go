package terminal

import (
	"io"
	"sync"
	"unicode/utf8"
)

// Writer writes what [Text] makes of what is written to it. A character that one Write
// begins and the next one ends counts as one. It may be used by several
// goroutines at a time.
type Writer struct {
	w    io.Writer
	mu   sync.Mutex
	rest []byte // a character that is not whole yet
}

// NewWriter returns one that writes to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Unwrap returns what lies beneath: for what a program wants of the terminal itself.
func (w *Writer) Unwrap() io.Writer { return w.w }

// Write always takes all of p, but for an error of the writer beneath.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := append(w.rest, p...)
	whole := len(text) - begun(text)
	w.rest = append([]byte(nil), text[whole:]...)
	if whole == 0 {
		return len(p), nil
	}
	if _, err := io.WriteString(w.w, Text(string(text[:whole]))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush writes what was begun and not ended.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.rest) == 0 {
		return nil
	}
	_, err := io.WriteString(w.w, Text(string(w.rest)))
	w.rest = nil
	return err
}

// begun returns how many bytes at the end of text begin a character without ending it.
func begun(text []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if last := text[len(text)-n:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				return n
			}
			return 0
		}
	}
	return 0
}
