//go:build unix

package handoff

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// oddConn is a connection as a net/http would use it that does something else between
// two requests than idle.go assumes.
type oddConn struct {
	*tcpConn
	deadline func(c *tcpConn, t time.Time) error
	read     func(c *tcpConn, p []byte) (int, error)
}

func (c *oddConn) SetReadDeadline(t time.Time) error {
	if c.deadline != nil {
		return c.deadline(c.tcpConn, t)
	}
	return c.tcpConn.SetReadDeadline(t)
}

func (c *oddConn) Read(p []byte) (int, error) {
	if c.read != nil {
		return c.read(c.tcpConn, p)
	}
	return c.tcpConn.Read(p)
}

type oddConns struct {
	net.Listener
	wrap func(*oddConn)
}

func (l oddConns) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	odd := &oddConn{tcpConn: c.(*tcpConn)}
	l.wrap(odd)
	return odd, nil
}

// Each breaks one of the assumptions about net/http. Its connections have to stay, be
// answered, and be told to go.
func TestConnectionsOfANetHTTPThatDoesOtherwiseStayAndEndPolitely(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		hook func(http.ConnState) bool // passes
		conn func(*oddConn)
	}{
		"it never says that a connection is idle": {func(s http.ConnState) bool { return s != http.StateIdle }, nil},
		"it sets no deadline between two requests": {nil, func(c *oddConn) {
			c.deadline = func(c *tcpConn, t time.Time) error {
				c.idle.mu.Lock()
				between := c.idle.between
				c.idle.mu.Unlock()
				if between {
					return nil
				}
				return c.SetReadDeadline(t)
			}
		}},
		"it sets the deadline twice": {nil, func(c *oddConn) {
			c.deadline = func(c *tcpConn, t time.Time) error { c.SetReadDeadline(t); return c.SetReadDeadline(t) }
		}},
		"it reads into a buffer that grows": {nil, func(c *oddConn) {
			room := 0
			c.read = func(c *tcpConn, p []byte) (int, error) {
				room++
				buf := make([]byte, len(p)+room)
				n, err := c.Read(buf[: len(p) : len(p)+room])
				return copy(p, buf[:n]), err
			}
		}},
		"it reads past Read": {nil, func(c *oddConn) {
			c.read = func(c *tcpConn, p []byte) (int, error) {
				if err := c.idle.bypass(); err != nil { // as WriteTo does
					return 0, err
				}
				return c.Read(p)
			}
		}},
	} {
		for protocols, change := range map[string]func(*http.Server){"": func(*http.Server) {}, ", h2c": func(s *http.Server) { s.Protocols = bothUnencrypted() }} {
			t.Run(name+protocols, func(t *testing.T) {
				t.Parallel()
				_, srv := answering("hello")
				change(srv)
				d := drainOf(srv)
				if tc.hook != nil {
					own := srv.ConnState
					srv.ConnState = func(c net.Conn, s http.ConnState) {
						if tc.hook(s) {
							own(c, s)
						}
					}
				}
				if tc.conn == nil {
					tc.conn = func(*oddConn) {}
				}
				oddServer(t, srv, d, tc.conn)
			})
		}
	}
}

// oddServer has clients talk to a server that drains, until they are told to go.
func oddServer(t *testing.T, srv *http.Server, d *httpDrain, odd func(*oddConn)) {
	l := gated(t, "tcp", gateOpen)
	l.up = newUpgrader(t, Options{})
	service := serveHTTP(srv, l, true, func(ln net.Listener) error { return srv.Serve(oddConns{ln, odd}) })
	go service.Serve()
	clients := make([]*rawClient, 3)
	for i := range clients {
		clients[i] = rawDial(t, l)
		clients[i].send(t)
		clients[i].answer(t)
	}
	d.conns.move(takes(func(e *emigrant) {
		t.Errorf("a connection leaves at %d bytes read", e.reader.size)
		e.conn.Close()
		e.gone()
	}))
	l.end()
	terms := farewellTerms{opts: Options{DrainTimeout: 4 * time.Second}}
	ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), farewellKey{}, terms), time.Minute)
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- service.Drain(ctx) }()
	until(t, d.began.Done(), "the drain")
	var talking sync.WaitGroup
	for i, c := range clients {
		talking.Go(func() {
			for n := 0; ; n++ {
				pause := time.Duration(i) * 100 * time.Millisecond
				time.Sleep(pause) // it is this client's manner
				if _, err := io.WriteString(c, get); err != nil {
					t.Error(err)
					return
				}
				resp, err := http.ReadResponse(c.r, nil)
				if err != nil {
					t.Errorf("client %d, request %d is lost: %v", i, n, err)
					return
				}
				text, err := io.ReadAll(resp.Body)
				if err != nil || !strings.HasPrefix(string(text), "hello") {
					t.Errorf("client %d: %q: %v", i, text, err)
				}
				if resp.Close {
					return
				}
				if n > 100 {
					t.Errorf("client %d is not told to go", i)
					c.Close()
					return
				}
			}
		})
	}
	talking.Wait()
	if err := until(t, drained, "the end of the drain"); err != nil {
		t.Error(err)
	}
}
