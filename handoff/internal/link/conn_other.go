//go:build !unix

package link

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// Conn is one end of a link; there are none on this system.
type Conn struct{}

func Pair() (*Conn, *os.File, error)                               { return nil, nil, errors.ErrUnsupported }
func Open(int) (*Conn, error)                                      { return nil, errors.ErrUnsupported }
func OpenFile(*os.File) (*Conn, error)                             { return nil, errors.ErrUnsupported }
func (*Conn) Send(time.Duration, Kind, any, ...syscall.Conn) error { return errors.ErrUnsupported }
func (*Conn) SendSockets(time.Duration, Kind, any, []int) error    { return errors.ErrUnsupported }
func (*Conn) Receive() (Message, error)                            { return Message{}, errors.ErrUnsupported }
func (*Conn) ReceiveAnd(func(Message)) (Message, error)            { return Message{}, errors.ErrUnsupported }
func (*Conn) SetReadDeadline(time.Time) error                      { return errors.ErrUnsupported }
func (*Conn) Detach() (*os.File, error)                            { return nil, errors.ErrUnsupported }
func (*Conn) Close() error                                         { return nil }

func closeSockets([]int) {}
