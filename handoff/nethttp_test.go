//go:build unix

package handoff

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// moving is an http.Server whose idle connections go to a channel when asked.
type moving struct {
	net.Listener
	set  *connSet
	left chan *emigrant
	in   chan struct{} // a request has come to the handler
	out  chan struct{} // its answer may be given
}

func newMoving(t *testing.T, network string, change func(*http.Server)) *moving {
	t.Helper()
	l := gated(t, network, gateOpen)
	m := &moving{Listener: l, set: &connSet{}, left: make(chan *emigrant, 16), in: make(chan struct{}, 16), out: make(chan struct{}, 16)}
	srv := &http.Server{ConnState: m.set.state, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		m.in <- struct{}{}
		<-m.out
		w.Write(append([]byte("echo "), body...))
	})}
	change(srv)
	go srv.Serve(&countedListener{Listener: l, conns: m.set, origin: l})
	t.Cleanup(func() { srv.Close() })
	return m
}

// ask has all connections leave that can.
func (m *moving) ask() {
	m.set.move(takes(func(e *emigrant) {
		e.gone()
		m.left <- e
	}))
}

// leaves waits for a connection that leaves, and returns it.
func (m *moving) leaves(t *testing.T, when string) *emigrant {
	t.Helper()
	select {
	case e := <-m.left:
		t.Cleanup(func() { e.conn.Close() })
		return e
	case <-time.After(5 * time.Second):
		t.Fatalf("%s a connection does not leave: the net/http of %s does something between requests that idleness (idle.go) does not know; "+
			"nothing is lost, but each upgrade costs its clients a reconnect", when, runtime.Version())
		return nil
	}
}

// stays fails if a connection has left.
func (m *moving) stays(t *testing.T, when string) {
	t.Helper()
	select {
	case <-m.left:
		t.Fatalf("%s a connection leaves: with the net/http of %s idleness (idle.go) takes it for idle, and a request is lost", when, runtime.Version())
	case <-time.After(100 * time.Millisecond):
	}
}

// accepted waits until there are n connections, and their first reads have begun.
func (m *moving) accepted(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		waiting := 0
		for _, c := range m.set.all() {
			i := &c.(*tcpConn).idle
			i.mu.Lock()
			if i.size > 0 {
				waiting++
			}
			i.mu.Unlock()
		}
		if waiting == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d connections have been read from, want %d", waiting, n)
		}
	}
}

func write(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

const (
	get      = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
	longPost = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n"
)

// Servers with timeouts make other calls.
var timeouts = map[string]func(*http.Server){
	"no timeouts": func(*http.Server) {},
	"all timeouts": func(s *http.Server) {
		s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout, s.IdleTimeout = time.Hour, time.Hour, time.Hour, time.Hour
	},
	"IdleTimeout": func(s *http.Server) { s.IdleTimeout = time.Hour },
	"ReadTimeout": func(s *http.Server) { s.ReadTimeout = time.Hour },
	// It looks for the preface of HTTP/2 first.
	"h2c": func(s *http.Server) { s.Protocols = bothUnencrypted() },
	"h2c, all timeouts": func(s *http.Server) {
		s.Protocols = bothUnencrypted()
		s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout, s.IdleTimeout = time.Hour, time.Hour, time.Hour, time.Hour
	},
}

func bothUnencrypted() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

func TestIdleConnectionsOfTheToolchainsNetHTTPLeave(t *testing.T) {
	t.Parallel()
	for name, change := range timeouts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMoving(t, "tcp", change)
			rawDial(t, m)
			used := rawDial(t, m)
			for range 3 {
				m.out <- struct{}{}
				used.send(t)
				used.answer(t)
			}
			m.accepted(t, 2)
			m.ask()
			for range 2 {
				e := m.leaves(t, "fresh, and between two requests,")
				conn, err := e.reclaim()
				if err != nil {
					t.Fatal(err)
				}
				conn.SetReadDeadline(time.Now().Add(10 * time.Second))
				if conn.RemoteAddr().String() != used.LocalAddr().String() {
					continue
				}
				used.send(t)
				got := make([]byte, len(get))
				if _, err := io.ReadFull(conn, got); err != nil || string(got) != get {
					t.Errorf("of the next request %q has left with the connection: %v", got, err)
				}
			}
			late := rawDial(t, m)
			_ = late
			m.leaves(t, "accepted after it was asked")
			if n := m.set.len(); n != 0 {
				t.Errorf("%d connections are still counted", n)
			}
		})
	}
}

// Each is written before the server is asked to let its connections go; rest is
// what is missing of the request, and answers how many are to come.
func TestBusyConnectionsOfTheToolchainsNetHTTPLeaveAfterTheirAnswers(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("x", 20000)
	for name, tc := range map[string]struct {
		before, begun, rest string
		answers             int
	}{
		"one byte of the first request":    {"", get[:1], get[1:], 1},
		"half of the first header":         {"", get[:20], get[20:], 1},
		"one byte of a later request":      {get, get[:1], get[1:], 1},
		"half of a later header":           {get, get[:20], get[20:], 1},
		"a header without its body":        {"", longPost, body, 1},
		"half of the body":                 {get, longPost + body[:10000], body[10000:], 1},
		"a body to the end of a buffer":    {get, longPost + body[:4096], body[4096:], 1},
		"a request and one byte":           {"", get + get[:1], get[1:], 2},
		"a request and three bytes":        {"", get + get[:3], get[3:], 2},
		"a request and a half":             {"", get + get[:20], get[20:], 2},
		"three requests":                   {get, get + get + get, "", 3},
		"requests around a body, in parts": {get, get + longPost + body[:9000], body[9000:] + get, 3},
	} {
		for server, change := range timeouts {
			t.Run(name+", "+server, func(t *testing.T) {
				t.Parallel()
				m := newMoving(t, "tcp", change)
				c := rawDial(t, m)
				if tc.before != "" {
					m.out <- struct{}{}
					write(t, c, tc.before)
					c.answer(t)
					<-m.in
					m.await(t, func(i *idleness) bool { return i.between && i.waiting })
				}
				write(t, c, tc.begun)
				m.await(t, func(i *idleness) bool { return !i.fresh && !i.between })
				m.ask()
				m.stays(t, "with "+name+" read")
				write(t, c, tc.rest)
				for n := range tc.answers {
					until(t, m.in, "a request")
					if n == 0 {
						m.stays(t, "while the handler runs")
					}
					m.out <- struct{}{}
					if text, last := c.answer(t); !strings.HasPrefix(text, "echo ") || last {
						t.Fatalf("answer %d of %d: %.20q, last: %v", n+1, tc.answers, text, last)
					}
				}
				m.leaves(t, "after its last answer")
			})
		}
	}
}

// await waits until a connection is in a state.
func (m *moving) await(t *testing.T, is func(*idleness) bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		for _, c := range m.set.all() {
			i := &c.(*tcpConn).idle
			i.mu.Lock()
			so := is(i)
			i.mu.Unlock()
			if so {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatal("the server does not read as it should")
		}
	}
}

func TestAnUnencryptedHTTP2ConnectionStays(t *testing.T) {
	t.Parallel()
	for name, change := range timeouts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMoving(t, "tcp", func(s *http.Server) { change(s); s.Protocols = bothUnencrypted() })
			only := new(http.Protocols)
			only.SetUnencryptedHTTP2(true)
			transport := &http.Transport{Protocols: only}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
			for n := range 3 {
				m.out <- struct{}{}
				resp, err := client.Post("http://"+m.Addr().String(), "", bytes.NewReader(make([]byte, 10000)))
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.ProtoMajor != 2 {
					t.Fatalf("served by %s", resp.Proto)
				}
				if n == 1 {
					m.ask()
					m.stays(t, "in HTTP/2, between two requests,")
				}
			}
			m.stays(t, "in HTTP/2, after a request,")
		})
	}
}

func TestAHijackedConnectionStays(t *testing.T) {
	t.Parallel()
	yours := make(chan net.Conn, 1)
	m := newMoving(t, "tcp", func(s *http.Server) {
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
			}
			yours <- c
		})
	})
	c := rawDial(t, m)
	c.send(t)
	conn := until(t, yours, "the connection")
	m.ask()
	done := make(chan error, 1)
	go func() {
		conn.SetReadDeadline(time.Time{})
		_, err := conn.Read(make([]byte, 4096))
		done <- err
	}()
	m.stays(t, "hijacked")
	write(t, c, "hello")
	if err := until(t, done, "the hijacker's read"); err != nil {
		t.Errorf("the hijacker reads: %v", err)
	}
	conn.Close()
	m.stays(t, "hijacked and closed")
	until(t, m.set.none(), "the end of the connection")
}

// What net/http or the program does with a connection that has left must not reach the
// socket, which is another process's by then.
func TestAConnectionThatHasLeftIsOutOfReach(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp", "unix"} {
		l := gated(t, network, gateOpen)
		client := dialTo(t, l)
		inner, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer inner.Close()
		set := &connSet{to: takes(func(*emigrant) {})}
		c := set.wrap(inner, l, wait{})
		set.add(c) // it leaves at its first read
		write(t, client, "GET /")
		for _, room := range []int{4096, 4096, 1, 100} { // whoever reads next
			if n, err := c.Read(make([]byte, room)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("%s: a read that was given up brings %d bytes: %v", network, n, err)
			}
			if room == 1 {
				c.SetDeadline(time.Now().Add(time.Hour))
			}
		}
		both := c.(interface {
			CloseRead() error
			CloseWrite() error
			syscall.Conn
			NetConn() net.Conn
		})
		if both.NetConn() != inner {
			t.Errorf("%s: NetConn is %T", network, both.NetConn())
		}
		_, rawErr := both.SyscallConn()
		errs := []error{both.CloseRead(), both.CloseWrite(), rawErr}
		_, err = c.Write([]byte("HTTP/1.1 408"))
		errs = append(errs, err)
		switch c := c.(type) {
		case *tcpConn:
			_, err = c.ReadFrom(strings.NewReader("x"))
			_, err2 := c.WriteTo(io.Discard)
			errs = append(errs, err, err2)
		case *unixConn:
			_, _, err = c.ReadFrom(make([]byte, 10))
			_, _, err2 := c.ReadFromUnix(make([]byte, 10))
			_, _, _, _, err3 := c.ReadMsgUnix(make([]byte, 10), nil)
			errs = append(errs, err, err2, err3)
		}
		for n, err := range errs {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: use %d: %v", network, n, err)
			}
		}
		c.Close()
		got := make([]byte, 5)
		if _, err := io.ReadFull(inner, got); err != nil || string(got) != "GET /" {
			t.Errorf("%s: its new owner reads %q: %v", network, got, err)
		}
		write(t, inner, "x")
		if n, err := client.Read(got); n != 1 || err != nil || got[0] != 'x' {
			t.Errorf("%s: the client reads %q: %v", network, got[:n], err)
		}
	}
}

func TestAConnectionThatIsReadPastItsReadStays(t *testing.T) {
	t.Parallel()
	l := gated(t, "tcp", gateOpen)
	client := dialTo(t, l)
	inner, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	set := &connSet{}
	c := set.wrap(inner, l, wait{}).(*tcpConn)
	defer c.Close()
	copied := make(chan struct{})
	go func() {
		io.Copy(io.Discard, c) // by WriteTo
		close(copied)
	}()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		c.idle.mu.Lock()
		bypassed := c.idle.bypassed
		c.idle.mu.Unlock()
		if bypassed {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it is not read")
		}
	}
	if c.leave() != nil {
		t.Error("it leaves while it is read")
	}
	client.Close()
	until(t, copied, "the end of the copy")
	if _, err := c.idle.begin(4096); err != nil {
		t.Errorf("it leaves afterwards: %v", err)
	}
}

// It is for the case that net/http does between two requests what idleness doesn't
// know, so no connection is ever seen to be idle.
func TestAConnectionThatCouldMoveAndDoesNotIsToldToGoInGoodTime(t *testing.T) {
	t.Parallel()
	start := time.Now()
	for _, tc := range []struct {
		every time.Duration
		told  int // at this request
	}{
		{0, 33}, {10 * time.Millisecond, 33}, {100 * time.Millisecond, 11}, {time.Second, 2}, {10 * time.Second, 2},
	} {
		var a asked
		for n := 1; ; n++ {
			if a.often(start.Add(time.Duration(n) * tc.every)) {
				if n != tc.told {
					t.Errorf("one that asks every %v is told at request %d, want %d", tc.every, n, tc.told)
				}
				break
			}
		}
	}
	var set connSet
	set.to = takes(func(*emigrant) {})
	for _, tc := range []struct {
		begun, pause time.Duration // ago
		told         bool
	}{
		{0, 0, false}, {10 * time.Minute, 10 * time.Minute, false},
		{30 * time.Minute, 0, true},                // half of DrainTimeout is over
		{time.Second, 30 * time.Minute, true},      // its next one would come later than that
		{20 * time.Minute, 11 * time.Minute, true}, // or hardly before it
		{time.Second, 100 * time.Hour, true},       // it would come too late for any answer
		{20 * time.Minute, 9 * time.Minute, false},
	} {
		c := &servedConn{set: &set, from: &listener{}}
		c.idle.since = time.Now().Add(-tc.pause)
		if c.dismiss(&farewell{begun: time.Now().Add(-tc.begun), limit: time.Hour}) != tc.told {
			t.Errorf("%v after the beginning, after a pause of %v: told: %v", tc.begun, tc.pause, !tc.told)
		}
	}
	c := &servedConn{set: &set, from: &listener{}}
	c.idle.since = time.Now()
	if !c.dismiss(nil) {
		t.Error("one isn't told by a generation that hurries")
	}
}
