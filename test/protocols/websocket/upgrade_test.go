//go:build linux

package websocket

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestTwentyUpgradesLoseNoMessageAndWorkOnNoneTwice(t *testing.T) {
	s, work := start(t)
	c := startClients(t, s.HTTP, 12, 200*time.Millisecond)
	for range 20 {
		s.Reload()
		c.awaitProcess(t, s.Main())
	}
	c.stop()
	c.wg.Wait()
	s.Stop()
	for _, err := range c.failures {
		t.Error(err)
	}
	text, err := os.ReadFile(work)
	if err != nil {
		t.Fatal(err)
	}
	worked := map[string]int{}
	for message := range strings.Lines(string(text)) {
		worked[strings.TrimSpace(message)]++
	}
	for message, times := range worked {
		if times != 1 || c.answered[message] != 1 {
			t.Errorf("message %s was worked on %d times and answered %d times", message, times, c.answered[message])
		}
	}
	if len(worked) != len(c.answered) {
		t.Errorf("%d messages were worked on, %d answered", len(worked), len(c.answered))
	}
	t.Logf("%d messages answered by %d processes; %d connections closed for a restart",
		len(c.answered), len(c.pids), c.restarts)
	if len(c.pids) != 21 || c.restarts < 20 {
		t.Errorf("%d processes have answered, %d connections were closed for a restart", len(c.pids), c.restarts)
	}
}

func TestAConnectionThatDoesNotCareAboutTheDrainIsServedUntilItIsCut(t *testing.T) {
	s, _ := start(t, "-deaf", "-drain", "2s")
	conn, _, err := websocket.Dial(t.Context(), "ws://"+s.HTTP, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	began := time.Now()
	s.Reload()
	proctest.Until(t, "the new process serves meanwhile", func() error {
		return askOnce(t.Context(), s.HTTP, s.Main())
	})
	answers := 0
	for {
		answer, err := exchange(conn, "hello")
		if err == nil {
			if want := fmt.Sprintf("hello pid=%d", s.First.Pid()); answer != want {
				t.Fatalf("got %q, want %q", answer, want)
			}
			answers++
			continue
		}
		if code := websocket.CloseStatus(err); code != -1 {
			t.Errorf("closed with %v", code)
		}
		break
	}
	if d := time.Since(began); answers == 0 || d < 2*time.Second {
		t.Errorf("%d answers, and cut after %v", answers, d)
	}
	if err := s.First.Wait(); err != nil {
		t.Error(err)
	}
	s.Stop()
}

// askOnce returns nil if a process answers on a new connection.
func askOnce(ctx context.Context, addr string, pid int) error {
	conn, _, err := websocket.Dial(ctx, "ws://"+addr, nil)
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	answer, err := exchange(conn, "who")
	if err == nil && answer != fmt.Sprintf("who pid=%d", pid) {
		err = fmt.Errorf("got %q", answer)
	}
	return err
}
