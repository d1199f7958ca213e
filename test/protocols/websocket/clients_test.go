//go:build linux

package websocket

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// clients send numbered messages, each the next one when the last is answered.
// A connection that is closed with "service restart" is followed by another one, on
// which a message that has no answer is sent again.
type clients struct {
	addr string
	end  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu       sync.Mutex
	answered map[string]int // messages
	restarts int            // connections that were closed in that way
	pids     map[int]bool
	failures []error
}

func startClients(t *testing.T, addr string, n int, think time.Duration) *clients {
	c := &clients{addr: addr, answered: make(map[string]int), pids: make(map[int]bool)}
	c.end, c.stop = context.WithCancel(context.Background())
	t.Cleanup(c.stop)
	for i := range n {
		pause := time.Duration(0)
		if i%2 == 0 {
			pause = think
		}
		c.wg.Go(func() {
			if err := c.client(i, pause); err != nil {
				c.mu.Lock()
				c.failures = append(c.failures, fmt.Errorf("client %d: %w", i, err))
				c.mu.Unlock()
			}
		})
	}
	return c
}

// patience is for one message.
const patience = 30 * time.Second

func (c *clients) client(i int, think time.Duration) error {
	for next := 0; c.end.Err() == nil; {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		conn, _, err := websocket.Dial(ctx, "ws://"+c.addr, nil)
		cancel()
		if err != nil {
			return err
		}
		err = c.talk(conn, i, &next, think)
		conn.CloseNow()
		if err != nil {
			return err
		}
	}
	return nil
}

// talk sends messages from number next on until the server wants the client to
// connect again.
func (c *clients) talk(conn *websocket.Conn, i int, next *int, think time.Duration) error {
	for ; c.end.Err() == nil; *next++ {
		message := fmt.Sprintf("%d/%d", i, *next)
		answer, err := exchange(conn, message)
		if websocket.CloseStatus(err) == websocket.StatusServiceRestart {
			c.mu.Lock()
			c.restarts++
			c.mu.Unlock()
			return nil
		}
		if err != nil {
			return fmt.Errorf("message %s: %w", message, err)
		}
		var got string
		var pid int
		if _, err := fmt.Sscanf(answer, "%s pid=%d", &got, &pid); err != nil || got != message {
			return fmt.Errorf("message %s is answered by %q", message, answer)
		}
		c.mu.Lock()
		c.answered[message]++
		c.pids[pid] = true
		c.mu.Unlock()
		if think > 0 {
			time.Sleep(rand.N(think))
		}
	}
	err := conn.Close(websocket.StatusNormalClosure, "")
	if websocket.CloseStatus(err) == websocket.StatusServiceRestart {
		return nil // both at the same time
	}
	return err
}

// exchange sends a message and waits for its answer. Reading tells why a connection
// has ended, so that is done even if writing has failed.
func exchange(conn *websocket.Conn, message string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	werr := conn.Write(ctx, websocket.MessageText, []byte(message))
	_, answer, rerr := conn.Read(ctx)
	if rerr != nil {
		return "", errors.Join(rerr, werr)
	}
	return string(answer), werr
}

// awaitProcess waits until a process has answered.
func (c *clients) awaitProcess(t *testing.T, pid int) {
	t.Helper()
	proctest.Until(t, fmt.Sprintf("process %d answers", pid), func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.failures) > 0 {
			t.Fatal(c.failures)
		}
		if !c.pids[pid] {
			return errors.New("it has not")
		}
		return nil
	})
}
