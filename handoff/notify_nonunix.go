//go:build !unix

package handoff

import (
	"errors"
	"fmt"
)

func dialNotifyUnix(string) (notifyConn, error) {
	return nil, fmt.Errorf("this system has no unix datagram sockets: %w", errors.ErrUnsupported)
}
