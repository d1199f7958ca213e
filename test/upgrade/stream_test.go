//go:build linux

package upgrade

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/graceful"
)

func TestSixtyFourUpgradesBackToBackWhileEachGenerationStreams(t *testing.T) {
	const upgrades, length = 64, 30 * time.Second
	s := graceful.Start(t, "-drain", "60s")
	runner, err := load.Start(t.Context(), load.Config{Target: load.Target{Addr: s.HTTP}, Shape: load.Think(20 * time.Millisecond), Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	var streams sync.WaitGroup
	begin := func() {
		opened := make(chan error, 1)
		streams.Go(func() { followStream(t, s.HTTP, length, opened) })
		if err := <-opened; err != nil {
			t.Error(err)
		}
	}
	begin()
	for range upgrades {
		s.Upgrade()
		begin()
	}
	streams.Wait()
	r := runner.Stop()
	s.Stop()
	graceful.NoLoss(t, r)
}

// followStream reads a stream to its end, which has to come from who began it.
// It tells opened when the answer has begun.
func followStream(t *testing.T, addr string, length time.Duration, opened chan<- error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		opened <- err
		return
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /stream?ms=%d HTTP/1.1\r\nHost: localhost\r\n\r\n", length.Milliseconds())
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		opened <- err
		return
	}
	defer resp.Body.Close()
	opened <- nil
	who := "pid=" + resp.Header.Get("X-Pid") + " "
	lines, last := 0, ""
	for in := bufio.NewScanner(resp.Body); in.Scan(); lines++ {
		if last = in.Text(); last != "end" && !strings.HasPrefix(last, who) {
			t.Errorf("the stream of %ssays %q", who, last)
			return
		}
	}
	if last != "end" {
		t.Errorf("the stream of %sbroke off after %d lines with %q", who, lines, last)
	}
}
