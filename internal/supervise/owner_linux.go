package supervise

import (
	"context"
	"errors"
	"fmt"
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

// ownerPauses are how long to wait before looking again.
const (
	firstLook = 200 * time.Microsecond
	lastLook  = 20 * time.Millisecond
	// deferWait is after which time a byte is sent first: TCP_DEFER_ACCEPT has a
	// connection wait for data.
	deferWait = 300 * time.Millisecond
)

// errElsewhere is about a connection that another process has accepted.
var errElsewhere = errors.New("another process has accepted the connection")

// dialOwned connects to addr until it is process pid, or a descendant of it, that has
// accepted the connection. Others get connections of which nothing is ever sent, for as
// long as it takes to see that. nudge may be sent before; it is the beginning of what
// the caller sends then, who is told how much.
func dialOwned(ctx context.Context, addr net.Addr, pid int, nudge string) (conn net.Conn, sent int, err error) {
	var dialer net.Dialer
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		conn, err := dialer.DialContext(ctx, addr.Network(), addr.String())
		if err != nil {
			return nil, 0, err
		}
		sent, err := awaitOwner(ctx, conn, pid, nudge)
		if err == nil {
			return conn, sent, nil
		}
		conn.Close()
		if !errors.Is(err, errElsewhere) {
			return nil, 0, err
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, 0, err
		}
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

// awaitOwner waits until somebody has accepted conn, and returns nil if it is who is
// meant.
func awaitOwner(ctx context.Context, conn net.Conn, pid int, nudge string) (sent int, err error) {
	began := time.Now()
	missed := 0
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		inode, err := acceptedInode(conn)
		if err != nil {
			return sent, err
		}
		if inode != 0 {
			owned, err := owns(pid, inode)
			if owned || err != nil {
				return sent, err
			}
			// Between accept(2) and its return nobody has the descriptor.
			if missed++; missed > 1 {
				return sent, errElsewhere
			}
		}
		if inode == 0 && sent == 0 && nudge != "" && time.Since(began) > deferWait {
			if sent, err = conn.Write([]byte(nudge)); err != nil {
				return sent, errElsewhere // it was closed at once
			}
		}
		if err := sleep(ctx, pause); err != nil {
			return sent, fmt.Errorf("nobody has accepted a connection: %w", err)
		}
	}
}

// owns tells whether process pid or a descendant of it has the socket open.
func owns(pid int, inode uint32) (bool, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false, err
	}
	var denied error
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil || !notify.IsDescendant(n, pid) {
			continue
		}
		has, err := hasSocket(n, inode)
		if has {
			return true, nil
		}
		if errors.Is(err, os.ErrPermission) {
			denied = fmt.Errorf("which process has accepted a connection can't be seen: %w; the holder needs the program's user, or CAP_SYS_PTRACE", err)
		}
	}
	return false, denied
}

func hasSocket(pid int, inode uint32) (bool, error) {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd"
	fds, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	want := "socket:[" + strconv.FormatUint(uint64(inode), 10) + "]"
	for _, fd := range fds {
		if link, err := os.Readlink(dir + "/" + fd.Name()); err == nil && link == want {
			return true, nil
		}
	}
	return false, nil
}

// answerWait bounds one question by HTTP.
const answerWait = 5 * time.Second

// askHTTP asks process pid for path, and returns nil if the answer is of 2xx or 3xx.
func askHTTP(ctx context.Context, addr net.Addr, path string, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	host := addr.String()
	if addr.Network() == "unix" {
		host = "localhost"
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
	_, status, _ := strings.Cut(line, " ")
	if !strings.HasPrefix(line, "HTTP/1.") || len(status) < 3 || status[0] != '2' && status[0] != '3' {
		return fmt.Errorf("ask for %s: the answer is %q", path, line)
	}
	return nil
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
		if err != nil {
			return "", err
		}
	}
}
