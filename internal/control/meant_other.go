//go:build !linux

package control

import (
	"errors"
	"net"
)

// ErrOther says that another service listens on a control socket than the one that was
// meant.
var ErrOther = errors.New("it is another service's control socket")

// CheckPeer has nothing to check here: a socket is named by its path alone.
func CheckPeer(*net.UnixConn, int, int) error { return nil }

// UserOf can't tell here.
func UserOf(int) (int, error) { return -1, errors.ErrUnsupported }
