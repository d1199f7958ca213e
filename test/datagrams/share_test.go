//go:build linux

package datagrams

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

var choices = map[string][]string{
	"AtReady":  nil,
	"AtCommit": {"-until-commit"},
}

func TestTwentyUpgradesLeaveNoDatagramUnanswered(t *testing.T) {
	for choice, flags := range choices {
		for _, network := range []string{"udp", "udp6", "unixgram"} {
			t.Run(choice+"/"+network, func(t *testing.T) {
				t.Parallel()
				s := start(t, network, append(flags, "-probation", "10ms")...)
				conn := s.dial(t)
				stop := make(chan struct{})
				sent, answers := make(chan int, 1), make(chan map[string]int, 1)
				go func() { sent <- flood(t, conn, time.Millisecond, stop) }()
				go func() { answers <- collect(t, conn) }()
				for range 20 {
					s.Reload()
				}
				close(stop)
				total := <-sent
				if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
					t.Fatal(err)
				}
				got := <-answers
				for n := range total {
					if got[fmt.Sprint(n)] != 1 {
						t.Errorf("datagram %d of %d has %d answers", n, total, got[fmt.Sprint(n)])
					}
				}
				t.Logf("%d datagrams", total)
				s.Stop()
			})
		}
	}
}

// The kernel deals a group's datagrams out to its sockets by the client's address. A
// socket that was not handed on would take its queue along, and a new one would have
// clients change from one queue to another.
func TestAGroupOfSocketsIsHandedOverWhole(t *testing.T) {
	t.Parallel()
	const members = 4
	s := start(t, "udp", "-group", fmt.Sprint(members), "-probation", "10ms")
	stop := make(chan struct{})
	type count struct {
		sent int
		got  map[string]int
	}
	const clients = 16 // each socket has some
	counts := make(chan count, clients)
	for range clients {
		conn := s.dial(t)
		go func() {
			answers := make(chan map[string]int, 1)
			go func() { answers <- collect(t, conn) }()
			sent := flood(t, conn, 10*time.Millisecond, stop)
			if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
				t.Error(err)
			}
			counts <- count{sent, <-answers}
		}()
	}
	for range 5 {
		s.Reload()
		if n := s.sockets(t); n != members {
			t.Errorf("the address has %d sockets, want %d", n, members)
		}
	}
	close(stop)
	for range clients {
		c := <-counts
		for n := range c.sent {
			if c.got[fmt.Sprint(n)] != 1 {
				t.Errorf("datagram %d of %d has %d answers", n, c.sent, c.got[fmt.Sprint(n)])
			}
		}
	}
	s.Stop()
}

// sockets counts the sockets of its address.
func (s service) sockets(t *testing.T) (n int) {
	t.Helper()
	table, err := os.ReadFile("/proc/net/udp")
	if err != nil {
		t.Fatal(err)
	}
	port := netip.MustParseAddrPort(s.address).Port()
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
			n++
		}
	}
	return n
}

// flood sends numbers, one each period, and returns how many.
func flood(t *testing.T, conn net.Conn, period time.Duration, stop <-chan struct{}) (n int) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return n
		case <-tick.C:
			if _, err := fmt.Fprint(conn, n); err != nil {
				t.Errorf("datagram %d: %v", n, err)
			}
			n++
		}
	}
}

// collect reads answers until the deadline, and returns how many each number got.
func collect(t *testing.T, conn net.Conn) map[string]int {
	got := make(map[string]int)
	buf := make([]byte, 2048)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("read: %v", err)
			}
			return got
		}
		number, _, _ := strings.Cut(string(buf[:n]), " ")
		got[number]++
	}
}

// wantGeneration checks who answers datagrams.
func wantGeneration(t *testing.T, conn net.Conn, generation int) {
	t.Helper()
	want := fmt.Sprintf("x generation=%d", generation)
	for range 50 {
		if got := ask(t, conn, "x"); got != want {
			t.Fatalf("the answer is %q, want %q", got, want)
		}
	}
}

func TestOneGenerationReadsDuringTheProbation(t *testing.T) {
	for choice, reader := range map[string]int{"AtReady": 2, "AtCommit": 1} {
		for outcome, heir := range map[string]int{"ok": 2, "unwell": 1} {
			t.Run(choice+"/"+outcome, func(t *testing.T) {
				t.Parallel()
				s := start(t, "udp", append([]string{"-hold", "-probation", "-1s"}, choices[choice]...)...)
				conn := s.dial(t)
				old := s.begin(t)
				wantGeneration(t, conn, reader)
				s.end(t, outcome)
				if outcome == "ok" {
					s.AwaitSuccessor(old)
					if err := s.First.Wait(); err != nil {
						t.Error(err)
					}
				} else {
					s.First.Until("the upgrade has failed", func() error {
						if !strings.Contains(s.First.Output(), "upgrade failed") {
							return errors.New("not yet")
						}
						return nil
					})
				}
				wantGeneration(t, conn, heir)
				s.Stop()
			})
		}
	}
}
