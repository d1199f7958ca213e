package spec

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/handoff-dev/handoff/handoff"
	"golang.org/x/sys/unix"
)

// control sets the options that are the socket's own, before it is bound.
func control(o Options) func(network, address string, raw syscall.RawConn) error {
	return func(network, _ string, raw syscall.RawConn) error {
		var errs []error
		err := raw.Control(func(fd uintptr) {
			set := func(is bool, name string, level, option, value int) {
				if is {
					errs = append(errs, os.NewSyscallError(name, unix.SetsockoptInt(int(fd), level, option, value)))
				}
			}
			six := strings.HasSuffix(network, "6")
			set(o.ReusePort, "SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			set(o.KeepAlive, "SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
			set(o.FreeBind && !six, "IP_FREEBIND", unix.SOL_IP, unix.IP_FREEBIND, 1)
			set(o.FreeBind && six, "IPV6_FREEBIND", unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
			set(o.DeferAccept > 0, "TCP_DEFER_ACCEPT", unix.SOL_TCP, unix.TCP_DEFER_ACCEPT, o.DeferAccept)
		})
		return errors.Join(append(errs, err)...)
	}
}

// openVsock listens at CID:PORT of vsock(7).
func openVsock(s Spec) (*Socket, error) {
	text, port, _ := strings.Cut(s.Value, ":")
	cid := uint64(math.MaxUint32) // VMADDR_CID_ANY
	n, err := strconv.ParseUint(port, 10, 32)
	if err == nil && text != "" {
		cid, err = strconv.ParseUint(text, 10, 32)
	}
	if err != nil {
		return nil, err
	}
	fd, err := newSocket(unix.AF_VSOCK, unix.SOCK_STREAM)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return nil, fmt.Errorf("%w: this kernel has no vsock; see whether 'modprobe vsock' helps", err)
	}
	if err != nil {
		return nil, err
	}
	if err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrVM{CID: uint32(cid), Port: uint32(n)})); err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, s.Options.backlog()))
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &Socket{File: handoff.File{Conn: os.NewFile(uintptr(fd), s.String())}}, nil
}
