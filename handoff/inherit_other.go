//go:build !unix && !windows

package handoff

import "errors"

// inherit has nothing to read here: no service manager passes anything.
func inherit(InheritOptions) (*Set, error) { return &Set{}, nil }

// dupFD and closeFD are never called, as no Set has entries.

func dupFD(int) (int, error) { return -1, errors.ErrUnsupported }
func closeFD(int) error      { return errors.ErrUnsupported }
func v6Only(int) bool        { return false }
