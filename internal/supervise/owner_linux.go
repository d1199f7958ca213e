package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/handoff-dev/handoff/internal/notify"
)

// All copies accept from the same queue, so nobody can choose which one a connection
// goes to. But before anything is sent on it, it can be seen who has accepted it: the
// kernel tells the other end's inode, and /proc who has that open.

// How long to wait before looking again.
const (
	firstLook = 200 * time.Microsecond
	lastLook  = 20 * time.Millisecond
	// deferWait is after which time a byte is sent first: TCP_DEFER_ACCEPT has a
	// connection wait for data.
	deferWait = 300 * time.Millisecond
)

// mostDials is how many connections are opened at a time when one process is quicker
// than another with most of them.
const mostDials = 32

// errElsewhere is about a connection that another process has accepted.
var errElsewhere = errors.New("another process has accepted the connection")

// dialOwned connects to addr until it is process pid, or a descendant of it, that has
// accepted the connection. Others get connections of which nothing is ever sent, for as
// long as it takes to see that. nudge may be sent before; it is the beginning of what
// the caller sends then, who is told how much.
func dialOwned(ctx context.Context, addr net.Addr, pid int, nudge string) (conn net.Conn, sent int, err error) {
	pause := firstLook
	for n := 1; ; n = min(2*n, mostDials) {
		b := batch{pid: pid, nudge: nudge}
		err := b.dial(ctx, addr, n)
		if err == nil {
			conn, sent, err = b.await(ctx)
		}
		b.close()
		if !errors.Is(err, errElsewhere) {
			return conn, sent, err
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, 0, fmt.Errorf("process %d accepts no connection: %w", pid, err)
		}
		pause = min(2*pause, lastLook)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// batch are connections that were opened at a time.
type batch struct {
	pid   int
	nudge string
	conns []*dialed
}

type dialed struct {
	net.Conn
	sent   int
	missed int // how often it was looked for in vain where it should be
}

func (b *batch) dial(ctx context.Context, addr net.Addr, n int) error {
	var dialer net.Dialer
	for range n {
		conn, err := dialer.DialContext(ctx, addr.Network(), addr.String())
		if err != nil {
			return err
		}
		b.conns = append(b.conns, &dialed{Conn: conn})
	}
	return nil
}

func (b *batch) close() {
	for _, c := range b.conns {
		c.Close()
	}
}

// await waits until the process has accepted one, which is not the batch's any more, or
// others have accepted all.
func (b *batch) await(ctx context.Context) (conn net.Conn, sent int, err error) {
	began := time.Now()
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		conn, sent, err := b.look(time.Since(began) > deferWait)
		if conn != nil || err != nil {
			return conn, sent, err
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, 0, fmt.Errorf("nobody has accepted a connection: %w", err)
		}
	}
}

// look looks at each once. late has those that nobody has accepted be nudged.
func (b *batch) look(late bool) (conn net.Conn, sent int, err error) {
	inodes := make([]uint32, len(b.conns))
	for i, c := range b.conns {
		if inodes[i], err = acceptedInode(c.Conn); err != nil && !errors.Is(err, errElsewhere) {
			return nil, 0, err
		}
		if err != nil {
			c.missed = 2 // it is closed
		}
	}
	// Only now, so that what was accepted is to be found.
	its, err := socketsOf(b.pid)
	if err != nil {
		return nil, 0, err
	}
	var left []*dialed
	for i, c := range b.conns {
		switch {
		case its[inodes[i]]:
			b.conns = append(left, b.conns[i+1:]...)
			return c.Conn, c.sent, nil
		case inodes[i] == 0 && c.missed == 0:
			if late && c.sent == 0 && b.nudge != "" {
				if c.sent, err = c.Write([]byte(b.nudge)); err != nil {
					c.missed = 2
				}
			}
		default:
			c.missed++ // between accept(2) and its return nobody has the descriptor
		}
		if c.missed > 1 {
			c.Close()
			continue
		}
		left = append(left, c)
	}
	if b.conns = left; len(left) == 0 {
		return nil, 0, errElsewhere
	}
	return nil, 0, nil
}

// socketsOf returns the inodes of the sockets that process pid and its descendants have.
func socketsOf(pid int) (map[uint32]bool, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	inodes := map[uint32]bool{}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil || !notify.IsDescendant(n, pid) {
			continue
		}
		if err := addSockets(inodes, n); errors.Is(err, os.ErrPermission) {
			return nil, fmt.Errorf("which process has accepted a connection can't be seen: %w; the holder needs the program's user, or CAP_SYS_PTRACE", err)
		}
	}
	return inodes, nil
}

func addSockets(inodes map[uint32]bool, pid int) error {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd"
	fds, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, fd := range fds {
		link, err := os.Readlink(dir + "/" + fd.Name())
		if err != nil {
			continue
		}
		if text, is := strings.CutPrefix(link, "socket:["); is {
			if inode, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 32); err == nil {
				inodes[uint32(inode)] = true
			}
		}
	}
	return nil
}

// answerWait bounds one question by HTTP.
const answerWait = 5 * time.Second

// askHTTP asks process pid for path, and returns nil if the answer is of 2xx or 3xx. host
// is the Host header; empty, it is [hostOf] the address.
func askHTTP(ctx context.Context, addr net.Addr, path, host string, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	if host == "" {
		host = hostOf(addr)
	}
	request := "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: handoff\r\nConnection: close\r\n\r\n"
	conn, sent, err := dialOwned(ctx, addr, pid, request[:1])
	if err != nil {
		return fmt.Errorf("ask for %s: %w", path, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write([]byte(request[sent:])); err != nil {
		return fmt.Errorf("ask for %s: %w", path, err)
	}
	line, err := statusLine(conn)
	if err != nil {
		return fmt.Errorf("ask for %s: %w", path, err)
	}
	return judge(path, host, line)
}

// judge returns nil for the status line of an answer of 2xx or 3xx.
func judge(path, host, line string) error {
	_, status, _ := strings.Cut(line, " ")
	switch {
	case isTLS(line):
		return fmt.Errorf("ask for %s: the program answers TLS, not HTTP: --ready exec=COMMAND can ask it by HTTPS", path)
	case strings.HasPrefix(line, "\x00\x00") || strings.HasPrefix(line, "HTTP/2"):
		return fmt.Errorf("ask for %s: the program answers HTTP/2, and is asked by HTTP/1.1", path)
	case !strings.HasPrefix(line, "HTTP/1.") || len(status) < 3:
		return fmt.Errorf("ask for %s: the program answers no HTTP: %q", path, line)
	case strings.HasPrefix(status, "400"), strings.HasPrefix(status, "403"), strings.HasPrefix(status, "421"):
		return fmt.Errorf("ask for %s: the answer is %q, to Host: %s; it may want another (--ready-host), or TLS", path, line, host)
	case status[0] != '2' && status[0] != '3':
		return fmt.Errorf("ask for %s: the answer is %q", path, line)
	}
	return nil
}

// isTLS tells whether an answer begins as a record of TLS does: of an alert, or of a
// handshake (RFC 8446, 5.1).
func isTLS(answer string) bool {
	return len(answer) >= 2 && (answer[0] == 0x15 || answer[0] == 0x16) && answer[1] == 3
}

// hostOf is the Host that a browser on this machine sends to an address (RFC 9110, 7.2):
// localhost where the address is no single host's.
func hostOf(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return "localhost"
	}
	host := "localhost"
	if len(tcp.IP) > 0 && !tcp.IP.IsUnspecified() {
		host = tcp.IP.String()
		if strings.Contains(host, ":") {
			host = "[" + host + "]" // without a zone, which means nothing elsewhere
		}
	}
	if tcp.Port == 80 {
		return host
	}
	return host + ":" + strconv.Itoa(tcp.Port)
}

func statusLine(conn net.Conn) (string, error) {
	const most = 256
	var got []byte
	buf := make([]byte, 512)
	for {
		n, err := conn.Read(buf)
		got = append(got, buf[:n]...)
		if line, _, found := strings.Cut(string(got), "\r\n"); found || len(got) >= most {
			return line[:min(len(line), most)], nil
		}
		switch {
		case len(got) > 0 && (err != nil || isTLS(string(got))):
			return string(got), nil // what there is of it tells what it is
		case errors.Is(err, io.EOF):
			return "", errors.New("the program has closed the connection without an answer, as one may that wants TLS")
		case err != nil:
			return "", err
		}
	}
}
