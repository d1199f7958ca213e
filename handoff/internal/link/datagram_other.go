//go:build !unix

package link

import (
	"errors"
	"net"
	"os"
)

func Datagrams() (*net.UnixConn, *os.File, error) { return nil, nil, errors.ErrUnsupported }
func SendDatagram(*os.File, []byte) error         { return errors.ErrUnsupported }
