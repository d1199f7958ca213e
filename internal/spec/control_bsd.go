//go:build unix && !linux

package spec

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// control sets the options that are the socket's own, before it is bound.
func control(o Options) func(network, address string, raw syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) error {
		switch {
		case o.FreeBind:
			return unsupported("the option freebind", "it is Linux's")
		case o.DeferAccept > 0:
			return unsupported("the option defer-accept", "it is Linux's")
		}
		var errs []error
		err := raw.Control(func(fd uintptr) {
			set := func(is bool, name string, option int) {
				if is {
					errs = append(errs, os.NewSyscallError(name, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, 1)))
				}
			}
			set(o.ReusePort, "SO_REUSEPORT", unix.SO_REUSEPORT)
			set(o.KeepAlive, "SO_KEEPALIVE", unix.SO_KEEPALIVE)
		})
		return errors.Join(append(errs, err)...)
	}
}

func openVsock(Spec) (*Socket, error) { return nil, unsupported("vsock", "it is Linux's") }
