//go:build !linux && !darwin && !freebsd

package control

import (
	"errors"
	"net"
)

// Supported tells whether there can be control sockets: where the kernel tells who
// is at the other end.
const Supported = false

func (r Rule) allows(*net.UnixConn) error { return errors.ErrUnsupported }
