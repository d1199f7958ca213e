//go:build linux

package control

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// crowd is how many clients come at once.
const crowd = 1000

// descriptors counts those of a process.
func descriptors(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// all has a crowd do something at once, each with a connection of its own.
func (s *service) all(do func(i int, c net.Conn)) {
	s.T.Helper()
	var clients sync.WaitGroup
	for i := range crowd {
		clients.Go(func() {
			c, err := net.Dial("unix", s.socket)
			if errors.Is(err, os.ErrNotExist) {
				s.T.Error(err)
			}
			if err == nil {
				do(i, c)
				c.Close()
			}
		})
	}
	clients.Wait()
}

func TestHostileClientsDisturbNeitherTheServiceNorEachOther(t *testing.T) {
	t.Parallel()
	s := start(t)
	g, err := load.StartGroup(t.Context(),
		load.Config{Target: load.Target{Addr: s.HTTP}, Shape: load.NewConn(), Workers: 2, Rate: 100},
		load.Config{Target: load.Target{Addr: s.HTTP}, Shape: load.KeepAlive(), Workers: 2, Rate: 100})
	if err != nil {
		t.Fatal(err)
	}
	before := descriptors(t, s.Main())
	attacks := []struct {
		name string
		do   func(i int, c net.Conn)
	}{
		{"silence", func(_ int, c net.Conn) { wait(c) }},
		{"a byte now and then", func(_ int, c net.Conn) {
			for _, b := range []byte("GET /v1/status HTTP/1.1\r\n") {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}},
		{"junk", func(i int, c net.Conn) {
			junk := bytes.Repeat([]byte{byte(i), 0, 0xff, '\n'}, 4096)
			c.Write(junk)
			wait(c)
		}},
		{"a huge header", func(_ int, c net.Conn) {
			io.Copy(c, io.MultiReader(strings.NewReader("GET /v1/status HTTP/1.1\r\nX: "), io.LimitReader(endless{}, 1<<20)))
			wait(c)
		}},
		{"a huge body", func(_ int, c net.Conn) {
			io.Copy(c, io.MultiReader(strings.NewReader("POST /v1/upgrade HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"), io.LimitReader(endless{}, 1<<20)))
			wait(c)
		}},
		{"a body that doesn't come", func(_ int, c net.Conn) {
			io.WriteString(c, "POST /v1/upgrade HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
			wait(c)
		}},
		{"events that nobody reads", func(_ int, c net.Conn) {
			io.WriteString(c, "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
			wait(c)
		}},
	}
	for _, a := range attacks {
		done := make(chan struct{})
		go func() { defer close(done); s.all(a.do) }()
		// In the midst of it.
		asked := time.Now()
		proctest.Until(t, "an answer in spite of "+a.name, func() error { _, err := s.tryStatus(); return err })
		t.Logf("%s: an answer after %v", a.name, time.Since(asked))
		if n := descriptors(t, s.Main()); n > before+80 {
			t.Errorf("%s: the service has %d descriptors, %d before", a.name, n, before)
		}
		<-done
	}
	if _, a := s.upgrade(""); a.Outcome != "committed" {
		t.Errorf("after it all: %+v", a)
	}
	proctest.Until(t, "all clients are forgotten", func() error {
		if n := descriptors(t, s.Main()); n > before+4 { // the load's
			return fmt.Errorf("%d descriptors, %d before", n, before)
		}
		return nil
	})
	graceful.NoLoss(t, g.Stop())
	s.Stop()
}

// On a busy machine a client may be so slow to say what it wants that it counts as
// silent; it tries again.
func TestAThousandClientsAtOnceAreAllAnswered(t *testing.T) {
	t.Parallel()
	s := start(t)
	var answered, again atomic.Int64
	s.all(func(_ int, c net.Conn) {
		for range 3 {
			c.SetDeadline(time.Now().Add(20 * time.Second))
			io.WriteString(c, "GET /v1/status HTTP/1.0\r\n\r\n")
			text, err := io.ReadAll(c)
			if err == nil && strings.Contains(string(text), `"generation": 1`) {
				answered.Add(1)
				return
			}
			c.Close()
			again.Add(1)
			if c, err = net.Dial("unix", s.socket); err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
		}
	})
	if answered.Load() != crowd || again.Load() > crowd/20 {
		t.Errorf("%d of %d were answered, %d had to try again", answered.Load(), crowd, again.Load())
	}
	s.Stop()
}

// A client that is connected and silent costs the end of a generation nothing.
func TestASilentClientDoesNotHoldUpAStop(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, err := net.Dial("unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s.status() // so that it was accepted
	began := time.Now()
	s.Stop()
	if took := time.Since(began); took > 1500*time.Millisecond {
		t.Errorf("the stop took %v", took)
	}
}

// wait waits a second for the service to close the connection.
func wait(c net.Conn) {
	c.SetReadDeadline(time.Now().Add(time.Second))
	io.Copy(io.Discard, c)
}

type endless struct{}

var plenty = bytes.Repeat([]byte("x"), 64<<10)

func (endless) Read(p []byte) (int, error) { return copy(p, plenty), nil }
