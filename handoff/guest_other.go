//go:build !unix

package handoff

import (
	"net"
	"syscall"
)

// guestSocket is nothing: no connection comes from another generation on this
// system.
type guestSocket struct{}

func newGuestSocket(int) *guestSocket                      { return &guestSocket{} }
func (*guestSocket) open() (net.Conn, error)               { return nil, ErrUnsupported }
func (*guestSocket) SyscallConn() (syscall.RawConn, error) { return nil, ErrUnsupported }
func (*guestSocket) Close() error                          { return nil }

type watch struct{}

func newWatch(*lobby) (*watch, error) { return nil, ErrUnsupported }
func (*watch) add(*guest) error       { return ErrUnsupported }
func (*watch) remove(*guest) bool     { return true }
