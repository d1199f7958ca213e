// Package startdir remembers the directory in which a process was started, for the
// processes that are to start there too.
package startdir

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// Dir is a directory as a process stood in it at a time. It is found again by its path,
// so that a symbolic link that was moved leads to the new directory, and known by its
// file, also when the path leads nowhere any more.
type Dir struct {
	// Path is absolute: by $PWD where that is true, as a link that was followed is seen
	// there alone. "" if it can't be told, such as of a directory that was removed.
	Path string
	file file
}

// Present returns the directory in which this process stands.
func Present() Dir {
	path, err := os.Getwd()
	if err != nil {
		path, _ = syscall.Getwd() // os.Getwd fails in a directory that can't be entered
	}
	f, _ := present()
	return Dir{Path: path, file: f}
}

// Next returns the directory to which a child has to change to start in d. It is "" if
// the child is to stay where this process stands: that is what d's path leads to; or
// this process has never left d, and the path leads nowhere, for d was removed or
// can't be entered any more.
//
// The error, an [*fs.PathError] with d's path, is when this process has left d and can't
// go back.
func (d Dir) Next() (path string, err error) {
	now, known := present()
	there, err := find(d.Path)
	switch {
	case err == nil && known && there == now:
		return "", nil
	case err == nil:
		return d.Path, nil
	case !known || now == d.file:
		return "", nil
	}
	return "", err
}

// Fault returns why a start has failed, if that was because the child could not change
// to dir: an [*fs.PathError] that names it. Else it is nil. cause is the error of the
// start, which names the program in both cases (os.StartProcess).
func Fault(dir string, cause error) error {
	if dir == "" {
		return nil // it did not have to
	}
	_, err := find(dir)
	var why syscall.Errno
	if err == nil || !errors.As(cause, &why) || !errors.Is(err, why) {
		return nil
	}
	return err
}

// find returns the directory that path leads to, if it can be entered.
func find(path string) (file, error) {
	f, err := enter(path)
	if err != nil {
		return file{}, &fs.PathError{Op: "chdir", Path: path, Err: err}
	}
	return f, nil
}
