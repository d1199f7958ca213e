//go:build !unix

package startdir

import "errors"

// file can't tell files apart here; there are no successors either.
type file struct{}

func enter(string) (file, error) { return file{}, errors.ErrUnsupported }

func present() (f file, ok bool) { return file{}, false }
