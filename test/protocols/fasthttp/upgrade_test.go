//go:build linux

package fasthttp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

func start(t *testing.T, flags ...string) *graceful.Server {
	t.Helper()
	s := graceful.New(t, "")
	s.Install(server(t, "http"))
	s.Run(proctest.Command(s.Path, append([]string{"-addr", s.HTTP, "-pid-file", s.PIDFile}, flags...)...))
	return s
}

// server builds the server whose socket has a name.
func server(t *testing.T, listener string) string {
	t.Helper()
	return proctest.Build(t, proctest.Program{Package: "./server", Race: true, Ldflags: "-X main.listener=" + listener})
}

func TestTwentyUpgradesFailNoRequestAndEndNoConnection(t *testing.T) {
	for name, flags := range map[string][]string{
		"as it is":      nil,
		"less memory":   {"-reduce-memory"},
		"with timeouts": {"-read-timeout", "20s", "-idle-timeout", "30s"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, flags...)
			const each = 8
			var kept, fresh []load.Config
			for _, shape := range []load.Shape{
				load.KeepAlive(),
				load.Think(5 * time.Millisecond),
				load.Think(300 * time.Millisecond),
				load.SlowPost(20 * time.Millisecond),
				load.SlowHeader(20 * time.Millisecond),
			} {
				kept = append(kept, load.Config{Target: load.Target{Addr: s.HTTP}, Shape: shape, Workers: each})
			}
			for _, shape := range []load.Shape{load.NewConn(), load.LateFirstByte(20 * time.Millisecond)} {
				fresh = append(fresh, load.Config{Target: load.Target{Addr: s.HTTP}, Shape: shape, Workers: 2})
			}
			k, err := load.StartGroup(t.Context(), kept...)
			if err != nil {
				t.Fatal(err)
			}
			n, err := load.StartGroup(t.Context(), fresh...)
			if err != nil {
				t.Fatal(err)
			}
			want := uint64(each * len(kept))
			proctest.Until(t, "all clients have connected", func() error { // one that thinks does so late
				if c := k.Snapshot().Connections; c < want {
					return fmt.Errorf("%d of %d", c, want)
				}
				return nil
			})
			for range 20 {
				sent := time.Now()
				k.Mark(sent, "upgrade")
				n.Mark(sent, "upgrade")
				s.Reload()
				for _, g := range []load.Group{k, n} {
					if _, err := g.AwaitFirstAnswer(proctest.Context(t), sent); err != nil {
						t.Fatal(err)
					}
				}
			}
			keptResult, freshResult := k.Stop(), n.Stop()
			s.Stop()
			graceful.NoLoss(t, keptResult)
			graceful.NoLoss(t, freshResult)
			if c := keptResult.Connections; c != want || keptResult.Reconnects > 0 {
				t.Errorf("%d connections were opened for %d clients, %d were ended by the server", c, want, keptResult.Reconnects)
			}
			if len(keptResult.PIDs) != 21 {
				t.Errorf("%d processes have answered, not 21", len(keptResult.PIDs))
			}
		})
	}
}

// client is one connection.
type client struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func dial(t *testing.T, s *graceful.Server) *client {
	t.Helper()
	conn, err := net.Dial("tcp", s.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t, conn, bufio.NewReader(conn)}
}

func post(body string) string {
	return fmt.Sprintf("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads an answer and checks its body, and who gave it. It tells whether it is
// the connection's last.
func (c *client) answer(body string, pid int) (last bool) {
	c.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		c.t.Fatal(err)
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	if err != nil || string(got) != body || resp.Header.Get("X-Pid") != fmt.Sprint(pid) {
		c.t.Fatalf("got %s %.40q of process %s (%v), want %.40q of %d", resp.Status, got, resp.Header.Get("X-Pid"), err, body, pid)
	}
	return resp.Close
}

func TestPipelinedRequestsAreAnsweredBeforeTheirConnectionMoves(t *testing.T) {
	s := start(t)
	silent := dial(t, s) // never sends a byte before the upgrade
	c := dial(t, s)
	c.send(post("one") + post("two") + post("three")[:30])
	old := s.Main()
	c.answer("one", old)
	c.answer("two", old)
	fresh := s.Reload()
	c.send(post("three")[30:] + post("four")[:10])
	c.answer("three", old)
	c.send(post("four")[10:])
	c.answer("four", old)                  // its beginning came with the third's end
	if err := s.First.Wait(); err != nil { // both have moved
		t.Error(err)
	}
	c.send(post("five"))
	c.answer("five", fresh)
	silent.send(post("first"))
	silent.answer("first", fresh)
	s.Stop()
}

// In the new generation a connection that has moved is idle, not new: ReadTimeout is
// about requests.
func TestAConnectionThatHasMovedMayBeIdleForLongerThanARequestMayTake(t *testing.T) {
	const limit = 200 * time.Millisecond
	s := start(t, "-read-timeout", limit.String(), "-idle-timeout", "1m")
	c := dial(t, s)
	c.send(post("before"))
	c.answer("before", s.Main())
	fresh := s.Reload()
	if err := s.First.Wait(); err != nil {
		t.Error(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(3 * limit)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.in.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the connection has got something, or its end: %v", err)
	}
	c.send(post("after"))
	c.answer("after", fresh)
	// From the first byte on ReadTimeout counts.
	c.send("POST")
	if text, err := io.ReadAll(c.in); err != nil {
		t.Errorf("half of a request was waited for: got %q, %v", text, err)
	}
	s.Stop()
}

func TestAConnectionThatNobodyTakesIsAnsweredOnceMore(t *testing.T) {
	s := start(t)
	c := dial(t, s)
	old := s.Main()
	c.send(post("before"))
	c.answer("before", old)
	s.Install(server(t, "other"))
	s.Reload()
	awaitLine(s, "a connection stays until its end")
	c.send(post("after"))
	if last := c.answer("after", old); !last {
		t.Error(`the answer has no "Connection: close"`)
	}
	if err := s.First.Wait(); err != nil {
		t.Error(err)
	}
	s.Stop()
}

func TestAServiceThatStopsAnswersTheRequestUnderWay(t *testing.T) {
	s := start(t)
	c := dial(t, s)
	old := s.Main()
	c.send(post("before") + post("under way")[:20])
	c.answer("before", old)
	s.Signal(old, syscall.SIGTERM)
	awaitLine(s, "stop signal")
	c.send(post("under way")[20:])
	c.answer("under way", old)
	if text, err := io.ReadAll(c.in); err != nil || len(text) > 0 {
		t.Errorf("after that it got %q, %v", text, err)
	}
	s.Gone()
}

func TestAHijackedConnectionStaysToItsEnd(t *testing.T) {
	s := start(t)
	c := dial(t, s)
	old := s.Main()
	c.send("GET /hijack HTTP/1.1\r\nHost: localhost\r\n\r\n")
	c.answer("", old)
	s.Reload()
	for range 3 {
		c.send("hello\n")
		if line, err := c.in.ReadString('\n'); err != nil || line != fmt.Sprintf("hello %d\n", old) {
			t.Fatalf("got %q, %v", line, err)
		}
	}
	c.Close()
	if err := s.First.Wait(); err != nil {
		t.Error(err)
	}
	s.Stop()
}

// awaitLine waits for a line of the log.
func awaitLine(s *graceful.Server, text string) {
	s.T.Helper()
	s.First.Until(fmt.Sprintf("the log says %q", text), func() error {
		if !strings.Contains(s.First.Output(), text) {
			return errors.New("it does not")
		}
		return nil
	})
}
