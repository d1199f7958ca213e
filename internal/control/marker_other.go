//go:build !linux

package control

import (
	"errors"
	"io"
	"io/fs"
)

// Mark does nothing: here a control socket is found by its path alone.
func Mark(string) (io.Closer, error) { return nil, nil }

// ErrNone says that a process has no control socket.
var ErrNone = errors.New("the process has no control socket")

// Find can't tell here.
func Find(int) (string, error) { return "", errors.ErrUnsupported }

// Found is a process with a control socket.
type Found struct {
	PID    int
	Socket string
	Dir    string // its working directory
}

// List finds none here.
func List() []Found { return nil }

// Denied tells whether an error of Find is one of rights.
func Denied(err error) bool { return errors.Is(err, fs.ErrPermission) }
