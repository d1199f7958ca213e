//go:build !unix && !windows

package handoff

import (
	"errors"
	"net"
)

// inherit has nothing to read here: no service manager passes anything.
func inherit(InheritOptions) (*Set, error) { return &Set{}, nil }

// kindOf, dupFD and closeFD are never called, as no Set has entries.
func kindOf(int) (kind Kind, text string, local, remote net.Addr) {
	return KindOther, "", nil, nil
}

func dupFD(int) (int, error) { return -1, errors.ErrUnsupported }
func closeFD(int) error      { return errors.ErrUnsupported }
