//go:build !unix

package load

import (
	"errors"
	"net"
)

const peekSupported = false

// peekConn is never made here: Config.Peek is refused.
type peekConn struct {
	net.Conn
	now bool
}

func newPeekConn(net.Conn) (*peekConn, error) {
	return nil, errors.New("load: Peek isn't available on this system")
}
