//go:build linux

package upgrade

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// talker is a client with one connection, which it never replaces.
type talker struct {
	net.Conn
	r *bufio.Reader
	n int // requests so far
}

func talk(t testing.TB, s *graceful.Server) *talker {
	t.Helper()
	conn, err := net.DialTimeout("tcp", s.HTTP, 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(proctest.Deadline(t))
	t.Cleanup(func() { conn.Close() })
	return &talker{Conn: conn, r: bufio.NewReader(conn)}
}

// request is the next one, numbered.
func (c *talker) request() (text, body string) {
	c.n++
	body = fmt.Sprintf("request %d of %s", c.n, c.LocalAddr())
	return fmt.Sprintf("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(body), body), body
}

// hears reads the answer with this body; pid is who gave it.
func (c *talker) hears(body string) (pid int, last bool, err error) {
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return 0, false, fmt.Errorf("request %d: %w", c.n, err)
	}
	got, err := io.ReadAll(resp.Body)
	if err != nil || string(got) != body {
		return 0, false, fmt.Errorf("request %d: %q for %q: %v", c.n, got, body, err)
	}
	pid, err = strconv.Atoi(resp.Header.Get("X-Pid"))
	return pid, resp.Close, err
}

func (c *talker) exchange() (pid int, last bool, err error) {
	text, body := c.request()
	if _, err := io.WriteString(c, text); err != nil {
		return 0, false, err
	}
	return c.hears(body)
}

// must fails the test unless an exchange was answered by a process and the
// connection goes on.
func (c *talker) must(t *testing.T, by int) {
	t.Helper()
	pid, last, err := c.exchange()
	if err != nil || last || pid != by {
		t.Fatalf("answered by %d, last: %v, error: %v; want an answer of %d", pid, last, err, by)
	}
}

func TestOneConnectionLivesThroughTenUpgrades(t *testing.T) {
	s := graceful.Start(t)
	used, fresh := talk(t, s), talk(t, s)
	used.must(t, s.Main())
	for range 10 {
		old := s.Main()
		pid := s.Upgrade()
		proctest.Until(t, fmt.Sprintf("%d has ended", old), func() error { return ended(s, old) })
		used.must(t, pid)
	}
	fresh.must(t, s.Main()) // moved ten times without a byte
	s.Stop()
}

// ended returns an error as long as a generation's process is there.
func ended(s *graceful.Server, pid int) error {
	if pid == s.First.Pid() {
		select {
		case <-s.First.Exited():
			return nil
		default:
			return errors.New("it is there")
		}
	}
	if p := s.Generation(pid); p != nil && p.Alive() {
		return errors.New("it is there")
	}
	return nil
}

func TestARequestThatIsHalfSentOverAnUpgradeIsAnsweredByWhoHasBegunIt(t *testing.T) {
	s := graceful.Start(t)
	old := s.Main()
	var clients []*talker
	var rests, bodies []string
	for _, warm := range []bool{false, true} {
		for _, half := range []int{1, 20, 1000} { // a byte, half a header, all but the last byte
			c := talk(t, s)
			if warm {
				c.must(t, old)
			}
			text, body := c.request()
			half = min(half, len(text)-1)
			if _, err := io.WriteString(c, text[:half]); err != nil {
				t.Fatal(err)
			}
			clients, rests, bodies = append(clients, c), append(rests, text[half:]), append(bodies, body)
		}
	}
	// They are accepted and read from when one that came later has its answer.
	talk(t, s).must(t, old)
	pid := s.Upgrade()
	talk(t, s).must(t, pid)
	for i, c := range clients {
		if _, err := io.WriteString(c, rests[i]); err != nil {
			t.Fatal(err)
		}
		by, last, err := c.hears(bodies[i])
		if err != nil || last || by != old && by != pid {
			t.Errorf("client %d: answered by %d, last: %v, error: %v", i, by, last, err)
		}
	}
	proctest.Until(t, "the old generation has ended", func() error { return ended(s, old) })
	for _, c := range clients {
		c.must(t, pid)
	}
	s.Stop()
}

func TestPipeliningClientsDoNotNoticeAnUpgrade(t *testing.T) {
	s := graceful.Start(t)
	var (
		stop    atomic.Bool
		clients sync.WaitGroup
		answers atomic.Int64
	)
	for i := range 8 {
		c := talk(t, s)
		clients.Go(func() {
			for !stop.Load() {
				var texts strings.Builder
				var bodies []string
				for range 4 {
					text, body := c.request()
					texts.WriteString(text)
					bodies = append(bodies, body)
				}
				all := texts.String()
				cut := len(all) - i*10 // the last is sent in two parts by most
				if _, err := io.WriteString(c, all[:cut]); err != nil {
					t.Error(err)
					return
				}
				for n, body := range bodies {
					if n == 3 {
						if _, err := io.WriteString(c, all[cut:]); err != nil {
							t.Error(err)
							return
						}
					}
					if _, last, err := c.hears(body); err != nil || last {
						t.Errorf("client %d: last: %v, error: %v", i, last, err)
						return
					}
					answers.Add(1)
				}
			}
		})
	}
	for range 10 {
		s.Upgrade()
	}
	stop.Store(true)
	clients.Wait()
	s.Stop()
	t.Logf("%d answers", answers.Load())
	if answers.Load() == 0 {
		t.Error("no request was answered at all")
	}
}

func TestClientsThatGoAwayDuringAnUpgradeLeaveNothingBehind(t *testing.T) {
	s := graceful.Start(t)
	for range 3 {
		old := s.Main()
		clients := make([]*talker, 60)
		for i := range clients {
			clients[i] = talk(t, s)
			if i%2 == 0 {
				clients[i].must(t, old)
			}
		}
		var closing sync.WaitGroup
		closing.Go(func() {
			for i, c := range clients {
				if i%3 == 0 {
					c.Conn.(*net.TCPConn).SetLinger(0) // a reset
				}
				c.Close()
				if i%10 == 9 {
					time.Sleep(5 * time.Millisecond) // some before, some amidst
				}
			}
		})
		pid := s.Upgrade()
		closing.Wait()
		proctest.Until(t, "the old generation has ended", func() error { return ended(s, old) })
		talk(t, s).must(t, pid)
	}
	s.Stop()
}

// unhurried gives standStill the time to stop the successor, on a busy machine too.
var unhurried = []string{"-probation", "2s"}

var successorIsReady = regexp.MustCompile(`msg="successor is ready".* successor=(\d+)`)

// standStill upgrades to a successor that is stopped in its probation and takes over
// so, with as many connections on their way to it as there may be.
func standStill(t *testing.T, s *graceful.Server) (pid int) {
	t.Helper()
	s.Install(graceful.Build(t, "2"))
	s.Signal(s.Main(), syscall.SIGHUP)
	s.First.Until("the successor is ready", func() error {
		found := successorIsReady.FindStringSubmatch(s.First.Output())
		if found == nil {
			return errors.New("its log does not say so")
		}
		var err error
		pid, err = strconv.Atoi(found[1])
		return err
	})
	s.Signal(pid, syscall.SIGSTOP)
	s.Adopt(pid)
	s.First.Until("the old generation drains", func() error {
		if !strings.Contains(s.First.Output(), "msg=upgraded") {
			return errors.New("its log does not say so")
		}
		return nil
	})
	return pid
}

func idleTalkers(t *testing.T, s *graceful.Server, n int) []*talker {
	t.Helper()
	clients := make([]*talker, n)
	for i := range clients {
		clients[i] = talk(t, s)
		clients[i].must(t, s.Main())
	}
	return clients
}

func TestConnectionsOutliveASuccessorThatDiesAmidstTheirMove(t *testing.T) {
	s := graceful.Start(t, unhurried...)
	old := s.Main()
	clients := idleTalkers(t, s, 300)
	pid := standStill(t, s)
	s.Signal(pid, syscall.SIGKILL)
	s.Generation(pid).Wait()
	kept, lost := 0, 0
	for _, c := range clients {
		by, last, err := c.exchange()
		if err == nil && !last { // its request came before it was asked to leave
			by, last, err = c.exchange()
		}
		switch {
		case err != nil:
			lost++ // it was acknowledged: it has died with the successor
		case by != old:
			t.Fatalf("answered by %d, not by %d", by, old)
		case !last:
			t.Fatal("the answer of a generation that drains is not the last")
		default:
			kept++
		}
	}
	t.Logf("%d connections were given back, %d had moved", kept, lost)
	if err := s.First.Wait(); err != nil {
		t.Errorf("the old generation: %v", err)
	}
	if kept == 0 {
		t.Error("none was given back")
	}
}

func TestASuccessorThatIsStoppedForAWhileLosesNoConnection(t *testing.T) {
	s := graceful.Start(t, unhurried...)
	old := s.Main()
	clients := idleTalkers(t, s, 300)
	pid := standStill(t, s)
	s.Signal(pid, syscall.SIGCONT)
	for _, c := range clients {
		proctest.Until(t, "the connection has moved", func() error {
			by, last, err := c.exchange()
			if err != nil || last || by != old && by != pid {
				t.Fatalf("answered by %d, last: %t, error: %v; want an answer of %d, and no farewell", by, last, err, pid)
			}
			if by == old { // its request came before it was asked to leave
				return errors.New("the old generation answers")
			}
			return nil
		})
	}
	s.Stop()
}
