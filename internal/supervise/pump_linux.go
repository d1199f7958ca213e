package supervise

import (
	"errors"
	"os"
	"strings"
	"sync"
	"time"
)

// What is kept of a copy's standard error.
const (
	tailBytes = 8 << 10
	tailLines = 20
)

// pump passes on what a copy writes to its standard error, byte for byte, and keeps the
// end of it.
type pump struct {
	holder  *Holder
	reading *os.File
	rest    rest
	stopped chan struct{} // closed when run has returned, at the end of file

	mu   sync.Mutex
	kept []byte
}

// newPump returns with it the end that the copy writes to, which the caller closes.
func newPump(h *Holder) (*pump, *os.File, error) {
	reading, writing, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	return h.pumpOf(reading), writing, nil
}

func (h *Holder) pumpOf(reading *os.File) *pump {
	return &pump{holder: h, reading: reading, rest: h.newRest(), stopped: make(chan struct{})}
}

// run ends at the end of file, which comes when no process has the other end.
func (p *pump) run() {
	defer close(p.stopped)
	defer p.reading.Close()
	buf := make([]byte, 4<<10)
	for {
		n, err := p.reading.Read(buf)
		if n > 0 {
			p.keep(buf[:n])
			p.holder.output.Lock()
			// Where the reader has gone the program is not to suffer.
			_, _ = os.Stderr.Write(buf[:n])
			p.holder.output.Unlock()
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			p.rest.take()
		case err != nil:
			return
		}
	}
}

func (p *pump) keep(data []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = append(p.kept, data...)
	if over := len(p.kept) - tailBytes; over > 0 {
		p.kept = p.kept[:copy(p.kept, p.kept[over:])]
	}
}

// finishWait is how long what a process has written before its end is waited for. Its
// children may hold the pipe open for ever.
const finishWait = 200 * time.Millisecond

// finish waits until what was written has been passed on.
func (p *pump) finish() {
	select {
	case <-p.stopped:
	case <-time.After(finishWait):
	}
}

// ended tells whether nothing more is to come.
func (p *pump) ended() bool {
	select {
	case <-p.stopped:
		return true
	default:
		return false
	}
}

// close is for a pump that never ran.
func (p *pump) close() {
	if p != nil {
		p.reading.Close()
	}
}

// tail returns the last lines.
func (p *pump) tail() []string {
	p.mu.Lock()
	text := string(p.kept)
	full := len(p.kept) >= tailBytes
	p.mu.Unlock()
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if full && len(lines) > 1 {
		lines = lines[1:] // the first is cut off somewhere
	}
	if len(lines) > tailLines {
		lines = lines[len(lines)-tailLines:]
	}
	if len(lines) == 1 && lines[0] == "" {
		return nil
	}
	for i, line := range lines {
		lines[i] = strings.ToValidUTF8(line, "?")
	}
	return lines
}
