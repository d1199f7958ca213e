//go:build linux

package upgrade

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/test/internal/graceful"
)

func TestTwentyUpgradesLeaveNoDatagramUnanswered(t *testing.T) {
	s := graceful.Start(t)
	conn, err := net.Dial("udp", s.UDP)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const period = time.Millisecond
	stop := make(chan struct{})
	sent := make(chan int, 1)
	go func() {
		tick := time.NewTicker(period)
		defer tick.Stop()
		n := 0
		for {
			select {
			case <-stop:
				sent <- n
				return
			case <-tick.C:
				if _, err := fmt.Fprintf(conn, "%d", n); err != nil {
					t.Errorf("datagram %d: %v", n, err)
				}
				n++
			}
		}
	}()
	answers := make(chan map[string]int, 1)
	go func() {
		got := make(map[string]int) // number → how often
		buf := make([]byte, 2048)
		for {
			n, err := conn.Read(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				answers <- got
				return
			}
			if err != nil {
				t.Errorf("read: %v", err)
				answers <- got
				return
			}
			number, _, _ := strings.Cut(string(buf[:n]), " ")
			got[number]++
		}
	}()
	for range 20 {
		s.Upgrade()
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
}
