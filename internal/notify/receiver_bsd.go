//go:build unix && !linux

package notify

import (
	"net"

	"golang.org/x/sys/unix"
)

const credentialsSpace = 0

func listen() (*Receiver, error) { return listenIn("") }

func listenAt(path string) (*Receiver, error) {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	return newReceiver(conn, path), nil
}

// parseCredentials does nothing: what these systems tell of a datagram's sender
// differs, and the socket's directory keeps other users out.
func parseCredentials(*unix.SocketControlMessage, *Message) {}
