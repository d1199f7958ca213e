package handoff

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
)

// provision is state that the program offers.
type provision struct {
	name    string
	version int
	write   func(io.Writer) error
	undo    func()
	busy    chan struct{} // holds one element while write or undo runs
	begun   bool          // write was called, and undo was not since; belongs to who is busy
}

// errGivenUp is when what is written is of no use any more.
var errGivenUp = errors.New("handoff: the upgrade is over")

// file has the program write the state. The file is the caller's to close.
func (p *provision) file(over ...<-chan struct{}) (file *os.File, size int64, err error) {
	if !p.lock(over...) {
		return nil, 0, errGivenUp
	}
	defer p.unlock()
	if isOver(over) {
		return nil, 0, errGivenUp
	}
	f, err := newStateFile()
	if err != nil {
		return nil, 0, err
	}
	w := &countingWriter{file: f.write, over: over}
	buffered := bufio.NewWriterSize(w, 256<<10)
	p.begun = true
	err = protect(func() error { return p.write(buffered) })
	if err == nil {
		err = buffered.Flush()
	}
	if err == nil {
		err = f.seal()
	}
	if err != nil {
		f.close()
		return nil, 0, err
	}
	return f.read, w.size, nil
}

// lock returns false when one of the channels was closed first.
func (p *provision) lock(over ...<-chan struct{}) bool {
	never := make(chan struct{})
	ends := [2]<-chan struct{}{never, never}
	copy(ends[:], over)
	select {
	case p.busy <- struct{}{}:
		return true
	case <-ends[0]:
	case <-ends[1]:
	}
	return false
}

func (p *provision) unlock() { <-p.busy }

func isOver(over []<-chan struct{}) bool {
	for _, c := range over {
		select {
		case <-c:
			return true
		default:
		}
	}
	return false
}

// protect makes an error of a panic: a bug in what is done for an upgrade is no
// reason to end a service that works.
func protect(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return do()
}

type countingWriter struct {
	file *os.File
	over []<-chan struct{}
	size int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	if isOver(w.over) {
		return 0, errGivenUp
	}
	n, err := w.file.Write(p)
	w.size += int64(n)
	return n, err
}

// stateFile is a file without a name: one end to write, one for others to read,
// which may be the same.
type stateFile struct {
	write, read *os.File
	seal        func() error // after it nobody can change what was written
}

func (f *stateFile) close() {
	f.write.Close()
	f.read.Close()
}

// temporaryStateFile is for systems without memfd_create(2).
func temporaryStateFile() (*stateFile, error) {
	w, err := os.CreateTemp("", "handoff-state-")
	if err != nil {
		return nil, err
	}
	r, err := os.Open(w.Name())
	if rerr := os.Remove(w.Name()); err == nil {
		err = rerr
	}
	if err != nil {
		w.Close()
		if r != nil {
			r.Close()
		}
		return nil, err
	}
	return &stateFile{write: w, read: r, seal: w.Close}, nil
}
