package handoff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// notifyTimeout bounds one Notify. A manager that reads nothing for so long is
// in trouble of its own, and a server must not stand still with it.
const notifyTimeout = 5 * time.Second

// MaxNotifyFiles is how many files the kernel lets one notification carry
// (SCM_MAX_FD of Linux).
const MaxNotifyFiles = 253

// A Notifier tells the service manager about this process by the protocol of
// sd_notify(3). Every method of a nil *Notifier does nothing and returns nil,
// so a program need not care whether it is supervised. A Notifier keeps one
// socket open, and may be used by several goroutines at a time.
//
// The manager knows the sender by the credentials that the kernel attaches,
// and acts only on messages that the unit's NotifyAccess permits. Success
// means that the message is in the manager's queue; Barrier waits until it was
// taken out.
type Notifier struct {
	address string
	timeout time.Duration // notifyTimeout, but in tests
	// turn holds one token; who has it may use conn. A channel, so that waiting
	// for it counts towards the timeout of a send.
	turn   chan struct{}
	conn   notifyConn // nil once closed
	closed atomic.Bool
}

// A notifyConn sends datagrams to one NOTIFY_SOCKET.
type notifyConn interface {
	// send sends one message with files, which may be empty, before deadline.
	send(message []byte, files []syscall.Conn, deadline time.Time) error
	Close() error
}

// OpenNotifier returns a Notifier for the socket that the environment variable
// NOTIFY_SOCKET names, or nil and no error where that is unset or empty: no
// manager wants to hear. The caller closes it.
//
// The variable stays as it is. A program that starts others which must not
// speak to the manager calls os.Unsetenv("NOTIFY_SOCKET") afterwards.
func OpenNotifier() (*Notifier, error) {
	address := os.Getenv("NOTIFY_SOCKET")
	if address == "" {
		return nil, nil
	}
	n, err := DialNotifier(address)
	if err != nil {
		return nil, fmt.Errorf("handoff: environment variable NOTIFY_SOCKET: %w", err)
	}
	return n, nil
}

// DialNotifier is like OpenNotifier for a given address:
//
//	/path                 a unix datagram socket
//	@name                 the same in Linux's abstract namespace
//	vsock:CID:PORT        the manager of a virtual machine's host, Linux only
//
// vsock tries datagrams, then SOCK_SEQPACKET, then SOCK_STREAM; vsock-dgram,
// vsock-seqpacket and vsock-stream in its place ask for one of them. No files
// can be sent by vsock, and it is dialed anew for each message.
//
// The error matches errors.ErrUnsupported where the system has no such sockets.
func DialNotifier(address string) (*Notifier, error) {
	conn, err := dialNotify(address)
	if err != nil {
		return nil, fmt.Errorf("handoff: notify socket %q: %w", address, err)
	}
	n := &Notifier{address: address, timeout: notifyTimeout, conn: conn, turn: make(chan struct{}, 1)}
	n.turn <- struct{}{}
	return n, nil
}

func dialNotify(address string) (notifyConn, error) {
	switch {
	case strings.HasPrefix(address, "/"), strings.HasPrefix(address, "@") && len(address) > 1:
		return dialNotifyUnix(address)
	case strings.HasPrefix(address, "vsock"):
		a, err := parseVsock(address)
		if err != nil {
			return nil, err
		}
		return dialNotifyVsock(a)
	}
	return nil, errors.New("not an address; want an absolute path, @name or vsock:CID:PORT")
}

// Notify sends states, in their order, as one message, which the manager takes
// as a whole. What can't be sent is refused before anything is: see State and
// ErrNotifySize.
//
// It waits while the manager's queue is full, but no longer than five seconds,
// waiting for other senders included; the error then matches
// os.ErrDeadlineExceeded. After Close it matches net.ErrClosed.
func (n *Notifier) Notify(states ...State) error { return n.NotifyFiles(nil, states...) }

// NotifyFiles is like Notify and sends files (an *os.File, a *net.TCPListener
// and their like) along with FDStore or MainPIDFD; the manager closes them with
// any other state. files stay open, stay the caller's and keep their mode.
func (n *Notifier) NotifyFiles(files []syscall.Conn, states ...State) error {
	if n == nil {
		return nil
	}
	message, err := encodeStates(states)
	if err != nil {
		return err
	}
	if len(files) > MaxNotifyFiles {
		return fmt.Errorf("handoff: notification with %d files; at most %d are allowed, send them in several", len(files), MaxNotifyFiles)
	}
	return n.send(context.Background(), message, files)
}

// send sends nothing once ctx has ended. It is asked at this message's turn: what the
// end of ctx is to come before is never overtaken.
func (n *Notifier) send(ctx context.Context, message []byte, files []syscall.Conn) error {
	deadline := time.Now().Add(n.timeout)
	timer := time.NewTimer(n.timeout)
	defer timer.Stop()
	select {
	case <-n.turn:
		defer func() { n.turn <- struct{}{} }()
	case <-timer.C:
		return n.failed(os.ErrDeadlineExceeded)
	}
	if n.closed.Load() {
		return n.failed(net.ErrClosed)
	}
	if ctx.Err() != nil {
		return n.failed(ctx.Err())
	}
	if n.conn != nil {
		err := n.conn.send(message, files, deadline)
		if !isStale(err) {
			return n.failed(err)
		}
		// The manager has been started anew and its socket with it.
		n.conn.Close()
		n.conn = nil
	}
	conn, err := dialNotify(n.address)
	if err != nil {
		return n.failed(err) // the next send dials again
	}
	n.conn = conn
	return n.failed(conn.send(message, files, deadline))
}

// isStale reports whether err says that the socket at the other end has gone.
func isStale(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.ENOTCONN) || errors.Is(err, syscall.EPIPE)
}

func (n *Notifier) failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("handoff: notify %s: %w", n.address, err)
}

// Barrier returns nil once the manager has processed all that this process
// sent before. A program that is about to exit needs it, unless it is the main
// process: systemd can't tell any more which service a dead sender belonged to.
// It fails with the cause of ctx when that ends first, and with
// errors.ErrUnsupported on vsock.
func (n *Notifier) Barrier(ctx context.Context) error {
	if n == nil {
		return nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("handoff: notify barrier: %w", err)
	}
	defer r.Close()
	err = n.send(context.Background(), []byte(barrier), []syscall.Conn{w})
	w.Close()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { r.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	// The manager closes its copy of w and writes nothing into it.
	if _, err := io.Copy(io.Discard, r); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fmt.Errorf("handoff: notify barrier: the manager has not caught up: %w", err)
	}
	return nil
}

// Close closes the socket, after a send that is under way. It says nothing to
// the manager.
func (n *Notifier) Close() error {
	if n == nil {
		return nil
	}
	if n.closed.Swap(true) {
		return nil
	}
	<-n.turn
	defer func() { n.turn <- struct{}{} }()
	if n.conn == nil {
		return nil
	}
	err := n.conn.Close()
	n.conn = nil
	return n.failed(err)
}

// A vsockAddr is a parsed vsock NOTIFY_SOCKET.
type vsockAddr struct {
	kind      string // "dgram", "seqpacket", "stream", or "" for the first that works
	cid, port uint32
}

// parseVsock parses vsock:CID:PORT and its kin by the rules of systemd: decimal
// numbers, and no wildcard, since a message needs one receiver.
func parseVsock(address string) (vsockAddr, error) {
	bad := errors.New("not a vsock address; want vsock:CID:PORT with decimal numbers, such as vsock:2:1234")
	scheme, rest, ok := strings.Cut(address, ":")
	cid, port, ok2 := strings.Cut(rest, ":")
	if !ok || !ok2 {
		return vsockAddr{}, bad
	}
	var a vsockAddr
	switch scheme {
	case "vsock":
	case "vsock-dgram", "vsock-seqpacket", "vsock-stream":
		a.kind = strings.TrimPrefix(scheme, "vsock-")
	default:
		return vsockAddr{}, bad
	}
	const anyone = 1<<32 - 1 // VMADDR_CID_ANY, VMADDR_PORT_ANY
	for _, part := range []struct {
		text  string
		value *uint32
	}{{cid, &a.cid}, {port, &a.port}} {
		n, err := strconv.ParseUint(part.text, 10, 32)
		if err != nil || n == anyone {
			return vsockAddr{}, bad
		}
		*part.value = uint32(n)
	}
	return a, nil
}
