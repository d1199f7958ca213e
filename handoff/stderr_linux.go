package handoff

import (
	"io"
	"os"
	"strings"
)

// errorMark is a place in the file that is standard error: what comes after it, a
// successor may have written. The zero value is no place.
type errorMark struct {
	at    int64
	known bool
}

// noteErrors returns the file's present end. Standard error is the successor's as it is
// ours; it is not replaced by a pipe, which would have to be read for as long as the
// successor lives.
func noteErrors() errorMark {
	info, err := os.Stderr.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return errorMark{}
	}
	return errorMark{at: info.Size(), known: true}
}

// read returns the end of what was written since.
func (m errorMark) read() string {
	if !m.known {
		return ""
	}
	// Opened anew, since it is most often open for writing only.
	f, err := os.Open("/proc/self/fd/2")
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() <= m.at {
		return ""
	}
	from := max(m.at, info.Size()-2*maxOutput)
	text, err := io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
	if err != nil {
		return ""
	}
	return tail(strings.TrimRight(string(text), "\n"), maxOutput)
}
