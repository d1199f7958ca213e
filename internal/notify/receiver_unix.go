//go:build unix

package notify

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// maxFiles is how many descriptors one message can carry (SCM_MAX_FD of Linux).
// With room for all, the kernel never has to cut off any for want of it.
const maxFiles = 253

// A Receiver is the end of a NOTIFY_SOCKET at which a service manager hears.
// One goroutine calls Receive; Close and SetReadDeadline may be called by any.
type Receiver struct {
	// KeepStored leaves the descriptors of a message with FDSTORE=1 open, as
	// Message.Files. Without it, and with any other message, every descriptor
	// that arrives is closed at once. Set it before the first Receive.
	KeepStored bool

	conn    *net.UnixConn
	address string
	dir     string // removed on Close, if any
	file    string // removed on Close, if any, and its directory if that is empty then
	data    []byte
	control []byte
}

// Listen opens a socket for datagrams of sd_notify(3). On Linux it has an
// unguessable name in the abstract namespace: nothing is left behind by a
// process that is killed. Any process of the same network namespace can find
// and use it, so the credentials of each message decide; see Message.From.
// Elsewhere it is in a new directory that only this user can enter.
//
// The caller closes it.
func Listen() (*Receiver, error) {
	r, err := listen()
	if err != nil {
		return nil, fmt.Errorf("handoff: listen for notifications: %w", err)
	}
	return r, nil
}

// listenIn listens in a new directory.
func listenIn(parent string) (*Receiver, error) {
	dir, err := os.MkdirTemp(parent, "handoff-") // mode 0700
	if err != nil {
		return nil, err
	}
	r, err := listenAt(dir + "/notify")
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	r.dir = dir
	return r, nil
}

// newReceiver returns a Receiver that reads from conn, which is bound to address.
func newReceiver(conn *net.UnixConn, address string) *Receiver {
	// Darwin's default holds two messages of full size. A system that refuses
	// more makes senders wait, no more.
	_ = conn.SetReadBuffer(256 << 10)
	return &Receiver{
		conn: conn, address: address,
		data:    make([]byte, MaxSize+1),
		control: make([]byte, unix.CmsgSpace(maxFiles*4)+credentialsSpace),
	}
}

// Address returns the value for NOTIFY_SOCKET.
func (r *Receiver) Address() string { return r.address }

// SetReadDeadline has Receive fail at t with an error that matches
// os.ErrDeadlineExceeded. The zero time means never.
func (r *Receiver) SetReadDeadline(t time.Time) error { return r.conn.SetReadDeadline(t) }

// Close closes the socket; a Receive that waits returns net.ErrClosed.
func (r *Receiver) Close() error {
	err := r.conn.Close()
	if r.dir != "" {
		err = errors.Join(err, os.RemoveAll(r.dir))
	}
	if r.file != "" {
		_ = os.Remove(r.file)
		_ = os.Remove(filepath.Dir(r.file))
	}
	return err
}

// Receive returns the next message, whoever sent it. It waits for one until
// Close (the error matches net.ErrClosed) or the read deadline. A datagram that
// breaks the protocol is a Message with a Fault, no error.
//
// A call says that the message before was dealt with: a BARRIER=1 behind it,
// which is never returned, is answered now. So read and judge a message in one
// goroutine, and Message.From in particular while the sender still waits.
func (r *Receiver) Receive() (Message, error) {
	for {
		n, oobn, flags, _, err := r.conn.ReadMsgUnix(r.data, r.control)
		if err != nil {
			return Message{}, fmt.Errorf("handoff: receive notification: %w", err)
		}
		m, fds := parseControl(r.control[:oobn])
		m.Lines, m.Fault = parseLines(r.data[:n])
		switch {
		case flags&unix.MSG_TRUNC != 0:
			m.Fault = fmt.Errorf("longer than %d bytes", MaxSize)
		case flags&unix.MSG_CTRUNC != 0:
			m.Fault = errors.New("the descriptors with it could not all be received; the limit of open files may be reached")
		}
		if m.Fault != nil {
			m.Fault = fmt.Errorf("handoff: notification from process %d ignored: %w", m.PID, m.Fault)
			m.Lines = nil
		}
		if r.KeepStored && slices.Contains(m.Lines, "FDSTORE=1") {
			for _, fd := range fds {
				m.Files = append(m.Files, os.NewFile(uintptr(fd), "stored"))
			}
			return m, nil
		}
		// With a barrier, this is the answer.
		for _, fd := range fds {
			closeSoon(fd)
		}
		if len(m.Lines) == 1 && m.Lines[0] == barrier {
			continue
		}
		return m, nil
	}
}

// closeSoon closes a descriptor of whoever sent it. If ours was the last one of a
// TCP connection with SO_LINGER, close would wait until the peer has read
// everything, or for as long as the sender likes.
func closeSoon(fd int) {
	if l, err := unix.GetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER); err == nil && l.Onoff != 0 && l.Linger != 0 {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
	}
	unix.Close(fd)
}

// parseControl returns a Message with the sender's credentials, and all
// descriptors that arrived, which are close-on-exec (net sees to it).
func parseControl(control []byte) (m Message, fds []int) {
	m = Message{UID: -1, GID: -1}
	// One at a time: what precedes a header that makes no sense still has to be
	// closed.
	for len(control) > 0 {
		header, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			break
		}
		message := unix.SocketControlMessage{Header: header, Data: data}
		switch {
		case header.Level != unix.SOL_SOCKET:
		case header.Type == unix.SCM_RIGHTS:
			if some, err := unix.ParseUnixRights(&message); err == nil {
				fds = append(fds, some...)
			}
		default:
			parseCredentials(&message, &m)
		}
		control = rest
	}
	return m, fds
}
