//go:build unix

package link

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// datagramRoom is how many bytes of datagrams may wait between two generations; the
// kernel gives less where its limits are lower. It has to be set at all where the
// default lets no large datagram through (2 KiB on macOS).
const datagramRoom = 1 << 20

// Datagrams makes a socketpair for datagrams: what is sent into the file, which can
// be handed to another process, is read from the connection. Neither end can tell
// that the other is gone by waiting for it; sending finds out.
func Datagrams() (receiving *net.UnixConn, sending *os.File, err error) {
	fds, err := socketpair(unix.SOCK_DGRAM)
	if err != nil {
		return nil, nil, err
	}
	sending = os.NewFile(uintptr(fds[1]), "datagrams")
	file := os.NewFile(uintptr(fds[0]), "datagrams")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		sending.Close()
		return nil, nil, fmt.Errorf("link: %w", err)
	}
	receiving = conn.(*net.UnixConn)
	_ = receiving.SetReadBuffer(datagramRoom)
	_ = unix.SetsockoptInt(fds[1], unix.SOL_SOCKET, unix.SO_SNDBUF, datagramRoom)
	return receiving, sending, nil
}

// SendDatagram sends into such a pair, and never waits: what finds no room is lost,
// with EAGAIN or ENOBUFS.
func SendDatagram(into *os.File, datagram []byte) error {
	raw, err := into.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = raw.Control(func(fd uintptr) {
		for {
			if _, serr = unix.SendmsgN(int(fd), datagram, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); serr != unix.EINTR {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("sendmsg", serr)
}
