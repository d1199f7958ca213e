//go:build linux

package upgrade

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// eventSource is a client as HTML's EventSource: it comes back when a stream has
// ended, and names its last event.
type eventSource struct {
	addr   string
	kept   bool // it uses one connection for all its streams
	last   int64
	dials  int
	events int
	pids   int          // how many have served it
	by     atomic.Int64 // the last of them
}

// follow reads streams until stop; all have to end as they should.
func (e *eventSource) follow(stop *atomic.Bool, deadline time.Time) error {
	var conn net.Conn
	var r *bufio.Reader
	defer func() { conn.Close() }()
	for {
		if conn == nil || !e.kept {
			if conn != nil {
				conn.Close()
			}
			var err error
			if conn, err = net.DialTimeout("tcp", e.addr, 10*time.Second); err != nil {
				return err
			}
			e.dials++
			conn.SetDeadline(deadline)
			r = bufio.NewReader(conn)
		}
		header := ""
		if e.last > 0 {
			header = fmt.Sprintf("Last-Event-ID: %d\r\n", e.last)
		}
		fmt.Fprintf(conn, "GET /events HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n%s\r\n", header)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return fmt.Errorf("after event %d: %w", e.last, err)
		}
		pid, err := strconv.ParseInt(resp.Header.Get("X-Pid"), 10, 64)
		if err != nil {
			return err
		}
		if e.by.Swap(pid) != pid {
			e.pids++
		}
		if done, err := e.read(resp, stop); done || err != nil {
			return err
		}
		if resp.Close && e.kept {
			return fmt.Errorf("after event %d: the connection is not to go on", e.last)
		}
	}
}

// read reads one stream.
func (e *eventSource) read(resp *http.Response, stop *atomic.Bool) (done bool, err error) {
	in := bufio.NewScanner(resp.Body)
	for in.Scan() {
		text, ok := strings.CutPrefix(in.Text(), "id: ")
		if !ok {
			continue
		}
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return false, err
		}
		if e.last > 0 && id != e.last+1 {
			return false, fmt.Errorf("event %d came after %d", id, e.last)
		}
		in.Scan() // the event is whole with its data
		if !strings.HasPrefix(in.Text(), fmt.Sprintf("data: event %d of ", id)) {
			return false, fmt.Errorf("event %d has %q", id, in.Text())
		}
		e.last = id
		e.events++
		if stop.Load() {
			return true, nil
		}
	}
	if err := in.Err(); err != nil { // the body's end was missing, among others
		return false, fmt.Errorf("after event %d: %w", e.last, err)
	}
	return false, nil
}

func TestServerSentEventsGoOnOverFiveUpgradesWithNoneMissing(t *testing.T) {
	const upgrades = 5
	s := graceful.New(t, "")
	s.Install(proctest.Build(t, proctest.Program{Package: "./events", Race: true}))
	s.Run(proctest.Command(s.Path, "-http", s.HTTP, "-pid-file", s.PIDFile, "-epoch", strconv.FormatInt(time.Now().Unix()-1, 10)))
	var (
		stop    atomic.Bool
		reading sync.WaitGroup
		sources []*eventSource
	)
	deadline := proctest.Deadline(t)
	for i := range 20 {
		e := &eventSource{addr: s.HTTP, kept: i%2 == 0}
		sources = append(sources, e)
		reading.Go(func() {
			if err := e.follow(&stop, deadline); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	served := func() {
		t.Helper()
		proctest.Until(t, "all clients have come", func() error {
			for i, e := range sources {
				if e.by.Load() != int64(s.Main()) {
					return fmt.Errorf("client %d has not", i)
				}
			}
			return nil
		})
	}
	for range upgrades {
		served()
		old := s.Main()
		s.Reload()
		// Nobody has to be cut off.
		proctest.Until(t, "the old generation has ended", func() error { return ended(s, old) })
	}
	served()
	stop.Store(true)
	reading.Wait()
	s.Stop()
	all := 0
	for i, e := range sources {
		all += e.events
		if e.kept && e.dials != 1 {
			t.Errorf("client %d: %d connections", i, e.dials)
		}
		if e.pids != upgrades+1 {
			t.Errorf("client %d was served by %d generations", i, e.pids)
		}
	}
	t.Logf("%d events", all)
}
