//go:build unix

package notify

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// SyscallConn gives access to the socket, for a process that passes it on.
func (r *Receiver) SyscallConn() (syscall.RawConn, error) { return r.conn.SyscallConn() }

// Resume is Listen for a process that has become another program by execve(2): file is
// the socket of the Receiver before, at address. It is closed in any case; the Receiver
// has a duplicate.
func Resume(file *os.File, address string) (*Receiver, error) {
	defer file.Close()
	conn, err := net.FilePacketConn(file)
	if err != nil {
		return nil, fmt.Errorf("handoff: resume notifications at %s: %w", address, err)
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, fmt.Errorf("handoff: resume notifications at %s: no unix socket", address)
	}
	r := newReceiver(socket, address)
	if filepath.IsAbs(address) {
		r.file = address
	}
	return r, nil
}
