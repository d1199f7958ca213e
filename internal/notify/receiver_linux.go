package notify

import (
	"context"
	"crypto/rand"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

var credentialsSpace = unix.CmsgSpace(unix.SizeofUcred)

func listen() (*Receiver, error) { return listenAt(abstractPrefix + rand.Text()) }

func listenAt(address string) (*Receiver, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		// Before bind: a datagram that came earlier would have no credentials.
		var failed error
		if err := raw.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
		}); err != nil {
			return err
		}
		return os.NewSyscallError("setsockopt SO_PASSCRED", failed)
	}}
	conn, err := config.ListenPacket(context.Background(), "unixgram", address)
	if err != nil {
		return nil, err
	}
	return newReceiver(conn.(*net.UnixConn), address), nil
}

func parseCredentials(message *unix.SocketControlMessage, m *Message) {
	if message.Header.Type != unix.SCM_CREDENTIALS {
		return
	}
	// pid 0 is a sender that this pid namespace can't see.
	if c, err := unix.ParseUnixCredentials(message); err == nil && c.Pid > 0 {
		m.PID, m.UID, m.GID = int(c.Pid), int(c.Uid), int(c.Gid)
	}
}
