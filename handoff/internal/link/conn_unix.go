//go:build unix

package link

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/fds"
	"golang.org/x/sys/unix"
)

const headerSize = 8

// Conn is one end of a link. One goroutine may receive while others send.
type Conn struct {
	conn    *net.UnixConn
	sending chan struct{} // holds one element while a message is being sent
	broken  error         // why no more can be sent; belongs to who is sending

	receiving sync.Mutex // held while a message is being received
	detached  atomic.Bool
}

// Pair makes a link: this side's end, and the file that is the other's.
func Pair() (*Conn, *os.File, error) {
	fds, err := socketpair(unix.SOCK_STREAM)
	if err != nil {
		return nil, nil, err
	}
	theirs := os.NewFile(uintptr(fds[1]), "link")
	ours, err := Open(fds[0])
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// Open makes a descriptor, which it owns from now on, an end of a link.
func Open(fd int) (*Conn, error) {
	file := os.NewFile(uintptr(fd), "link")
	if file == nil {
		return nil, fmt.Errorf("link: descriptor %d: %w", fd, os.ErrInvalid)
	}
	defer file.Close()
	return OpenFile(file)
}

// OpenFile makes a duplicate of file an end of a link.
func OpenFile(file *os.File) (*Conn, error) {
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	u, ok := conn.(*net.UnixConn)
	if !ok || u.LocalAddr().Network() != "unix" {
		conn.Close()
		return nil, errors.New("link: the descriptor is no unix stream socket")
	}
	return &Conn{conn: u, sending: make(chan struct{}, 1)}, nil
}

// Send sends one message. It takes at most wait, with the wait for another that
// is being sent: a receiver that doesn't read must not hold up the sender. What
// was sent in part makes all later ones fail.
func (c *Conn) Send(wait time.Duration, kind Kind, body any, files ...syscall.Conn) error {
	return fds.With(files, func(fds []int) error { return c.SendSockets(wait, kind, body, fds) })
}

// SendSockets is Send with descriptors that nobody closes meanwhile.
func (c *Conn) SendSockets(wait time.Duration, kind Kind, body any, fds []int) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("link: message of kind %d: %w", kind, err)
	}
	if len(text) > maxBody || len(fds) > maxFiles {
		return fmt.Errorf("link: message of kind %d: %d bytes and %d files, at most %d and %d are allowed", kind, len(text), len(fds), maxBody, maxFiles)
	}
	packet := make([]byte, headerSize, headerSize+len(text))
	binary.BigEndian.PutUint16(packet, uint16(kind))
	binary.BigEndian.PutUint32(packet[4:], uint32(len(text)))
	packet = append(packet, text...)

	end := time.Now().Add(wait)
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	select {
	case c.sending <- struct{}{}:
	case <-timeout.C:
		return fmt.Errorf("link: another message is being sent: %w", os.ErrDeadlineExceeded)
	}
	defer func() { <-c.sending }()
	if c.broken != nil {
		return c.broken
	}
	if err := c.conn.SetWriteDeadline(end); err != nil {
		return fmt.Errorf("link: %w", err)
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	n, _, err := c.conn.WriteMsgUnix(packet, rights, nil) // as much as goes in one call
	for err == nil && n < len(packet) {
		var m int
		m, err = c.conn.Write(packet[n:])
		n += m
	}
	if err != nil {
		err = fmt.Errorf("link: %w", err)
		if n > 0 {
			c.broken = err
		}
		return err
	}
	return nil
}

// Receive returns the next message, io.EOF when the other side is gone, and
// [os.ErrDeadlineExceeded] when [Conn.SetReadDeadline] or [Conn.Detach] ended
// the wait.
func (c *Conn) Receive() (Message, error) { return c.ReceiveAnd(nil) }

// ReceiveAnd is Receive, and calls do, if it is not nil, with the message before
// [Conn.Detach] can come in between. do must not wait for who may call Detach.
func (c *Conn) ReceiveAnd(do func(Message)) (Message, error) {
	c.receiving.Lock()
	defer c.receiving.Unlock()
	m, err := c.receive()
	if err == nil && do != nil {
		do(m)
	}
	return m, err
}

func (c *Conn) receive() (Message, error) {
	if c.detached.Load() {
		return Message{}, fmt.Errorf("link: detached: %w", os.ErrDeadlineExceeded)
	}
	header, came, err := c.receiveHeader()
	m := Message{Kind: Kind(binary.BigEndian.Uint16(header)), Sockets: came.fds}
	if err != nil {
		m.Close()
		return Message{}, err
	}
	length := binary.BigEndian.Uint32(header[4:])
	if length > maxBody || header[2] != 0 || header[3] != 0 {
		m.Close()
		return Message{}, fmt.Errorf("%w: header % x", ErrProtocol, header)
	}
	if m.Kind != KindConnections {
		if came.cut {
			m.Close()
			return Message{}, fmt.Errorf("%w: too many descriptors", ErrProtocol)
		}
		m.Files, m.Sockets = filesOf(m.Sockets), nil
	}
	m.Body = make([]byte, length)
	if _, err := c.readFull(m.Body); err != nil {
		m.Close()
		return Message{}, fmt.Errorf("%w: message of kind %d: body: %w", ErrProtocol, m.Kind, err)
	}
	return m, nil
}

// rights are the descriptors that came with a header; cut: there were more.
type rights struct {
	fds []int
	cut bool
}

// receiveHeader reads a header and the descriptors that came with it. Interrupted
// before the first byte it returns the deadline's error; later it goes on, for
// else the rest of the message would be taken for a new one.
func (c *Conn) receiveHeader() (header []byte, came rights, err error) {
	header = make([]byte, headerSize)
	oob := make([]byte, unix.CmsgSpace(4*(maxFiles+3)))
	n, oobn, flags, _, err := c.conn.ReadMsgUnix(header, oob)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.EOF
		}
		return header, came, err
	}
	came = rights{fds: takeRights(oob[:oobn]), cut: flags&unix.MSG_CTRUNC != 0}
	if n == 0 {
		return header, came, io.EOF
	}
	if _, err := c.readFull(header[n:]); err != nil {
		return header, came, fmt.Errorf("%w: header: %w", ErrProtocol, err)
	}
	return header, came, nil
}

// readFull reads the rest of a message that has begun: the sender is at it.
func (c *Conn) readFull(p []byte) (int, error) {
	n := 0
	end := time.Now().Add(5 * time.Second)
	for n < len(p) {
		m, err := c.conn.Read(p[n:])
		n += m
		if errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(end) {
			// Detach's deadline; it waits for the end of this message.
			err = c.conn.SetReadDeadline(end)
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func takeRights(oob []byte) (all []int) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		if fds, err := unix.ParseUnixRights(&m); err == nil {
			all = append(all, fds...)
		}
	}
	closeOnExec(all)
	return all
}

func filesOf(fds []int) (files []*os.File) {
	for _, fd := range fds {
		files = append(files, os.NewFile(uintptr(fd), "received"))
	}
	return files
}

func closeSockets(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// SetReadDeadline bounds the wait of Receive.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.conn.SetReadDeadline(t) }

// Detach ends Receive between two messages and returns a duplicate of this end,
// for another process that is to go on receiving in place of this one. The
// caller closes it. Nothing may be received here afterwards; sending goes on to
// work.
func (c *Conn) Detach() (*os.File, error) {
	c.detached.Store(true)
	if err := c.conn.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	c.receiving.Lock()
	defer c.receiving.Unlock()
	raw, err := c.conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	var (
		fd   int
		derr error
	)
	if err := raw.Control(func(from uintptr) { fd, derr = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 3) }); err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	if derr != nil {
		return nil, fmt.Errorf("link: %w", os.NewSyscallError("fcntl", derr))
	}
	return os.NewFile(uintptr(fd), "link"), nil
}

// Close closes this end; the other side receives io.EOF unless a duplicate of
// this end is open somewhere.
func (c *Conn) Close() error { return c.conn.Close() }
