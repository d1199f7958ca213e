//go:build linux

package faults

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// clients put a light load on a server: one opens a connection for each request,
// one keeps its own. They never send a request twice, and note of each lost one the
// address that it came from, by which the server's record of accepted connections
// tells who had it.
type clients struct {
	addr     string
	stopping chan struct{}
	done     sync.WaitGroup
	answered atomic.Int64

	mu     sync.Mutex
	losses []loss
}

type loss struct {
	from string // "" if it could not connect
	err  error
	when time.Time
	kept bool // the connection had been idle, after other requests
}

const (
	clientPeriod  = 30 * time.Millisecond
	clientTimeout = 40 * time.Second
)

func startClients(addr string) *clients {
	c := &clients{addr: addr, stopping: make(chan struct{})}
	for _, keep := range []bool{false, true} {
		c.done.Go(func() { c.work(keep) })
	}
	return c
}

// stop lets the requests that are under way come to their end.
func (c *clients) stop() []loss {
	select {
	case <-c.stopping:
	default:
		close(c.stopping)
	}
	c.done.Wait()
	return c.losses
}

func (c *clients) work(keep bool) {
	tick := time.NewTicker(clientPeriod)
	defer tick.Stop()
	var conn net.Conn
	kept := false
	for number := 0; ; number++ {
		select {
		case <-c.stopping:
			if conn != nil {
				conn.Close()
			}
			return
		case <-tick.C:
		}
		if conn == nil {
			var err error
			if conn, err = net.DialTimeout("tcp", c.addr, clientTimeout); err != nil {
				c.lost(loss{err: err})
				continue
			}
			kept = false
		}
		goOn, err := exchange(conn, fmt.Sprintf("request %d of %p", number, c), keep)
		if err != nil {
			c.lost(loss{from: conn.LocalAddr().String(), err: err, kept: kept})
		} else {
			c.answered.Add(1)
		}
		if !goOn || err != nil {
			conn.Close()
			conn = nil
		}
		kept = true
	}
}

func (c *clients) lost(l loss) {
	l.when = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.losses = append(c.losses, l)
}

// exchange sends one request and reads its answer; goOn tells whether the
// connection may be used again.
func exchange(conn net.Conn, body string, keep bool) (goOn bool, err error) {
	if err := conn.SetDeadline(time.Now().Add(clientTimeout)); err != nil {
		return false, err
	}
	head := "POST /echo HTTP/1.1\r\nHost: localhost\r\n"
	if !keep {
		head += "Connection: close\r\n"
	}
	if _, err := fmt.Fprintf(conn, "%sContent-Length: %d\r\n\r\n%s", head, len(body), body); err != nil {
		return false, err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err == nil && !bytes.Equal(got, []byte(body)) {
		err = fmt.Errorf("status %s, body %q", res.Status, got)
	}
	return keep && !res.Close, err
}

// acceptedBy returns which process has accepted a connection from each address.
// An address may come twice in a long test; the last is what counts.
func acceptedBy(dir string) (map[string]string, error) {
	text, err := os.ReadFile(filepath.Join(dir, "accepted"))
	by := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		pid, from, _ := strings.Cut(strings.TrimSpace(line), " ")
		by[from] = pid
	}
	return by, err
}
