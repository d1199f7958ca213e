package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/handoff"
)

// busy is a service of which there is much to tell.
func busy(now time.Time) handoff.ServiceStatus {
	open := 12
	s := handoff.ServiceStatus{
		Schema: 1, Generation: 42, PID: 4242, Phase: "probation", Version: "v1.2.3-0.20260101000000-abcdefabcdef", Uptime: 93784, Requests: 1000, Connections: 12,
		Binary:    handoff.BinaryStatus{Path: "/usr/local/bin/a-rather-long-name-of-a-program", Changed: true},
		Successor: &handoff.SuccessorStatus{Generation: 43, PID: 4300, Step: "probation", Since: now.Add(-time.Second)},
		Listeners: []handoff.ListenerStatus{
			{Name: "http", Network: "tcp", Address: "[::]:8080", Accepted: 123456, Open: &open},
			{Name: "dns", Network: "udp", Address: "[::]:53"},
		},
	}
	for g := range 3 {
		s.Draining = append(s.Draining, handoff.DrainingStatus{Generation: 39 + g, PID: 4000 + g, Connections: g, Deadline: now.Add(90 * time.Second),
			Listeners: []handoff.ListenerDrain{{Name: "http", Open: g}}})
	}
	for g := range 20 {
		s.Upgrades = append(s.Upgrades, handoff.UpgradeRecord{From: 22 + g, To: 23 + g, Began: now.Add(time.Duration(g-20) * time.Hour), Seconds: 1.2, Outcome: "failed",
			FailedIn: "ready", Cause: "exit status 3\n\x1b[2Jand more"})
	}
	return s
}

func TestTheStatusIsReadAtAGlance(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	text := statusText(busy(now), now)
	for _, line := range []string{
		"generation 42  probation  pid 4242  v1.2.3-0.20260101000000-abcdefabcdef  up 1d02h",
		"binary  /usr/local/bin/a-rather-long-name-of-a-program: the file on disk is another than the one that runs",
		"upgrade to generation 43  pid 4300: probation for 1s",
		"listener  address        open  accepted  moved in",
		"http      tcp [::]:8080    12    123456         0",
		"dns       udp [::]:53       -         -         -",
		"generation 40 drains  pid 4001  1 connection (http 1), cut in 1m30s",
		"  41 to 42  failed (ready), 1h00m ago: exit status 3 ?[2Jand more",
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("there is no line %q in\n%s", line, text)
		}
	}
	if n := strings.Count(text, "failed"); n != 5 {
		t.Errorf("%d upgrades are shown, want 5", n)
	}
}

func TestTheLiveViewFitsIntoEveryWindow(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, size := range [][2]int{{80, 24}, {132, 50}, {20, 5}, {1, 1}, {0, 0}, {80, 0}} {
		for _, err := range []error{nil, errors.New("broken\nin two")} {
			m := watchModel{client: newControlClient("/x"), width: size[0], height: size[1]}
			m.take(seenMsg{status: busy(now), at: now})
			m.take(seenMsg{err: err, status: busy(now), at: now.Add(time.Second)})
			lines := m.lines()
			if len(lines) != size[1] {
				t.Errorf("%v: %d lines", size, len(lines))
			}
			for _, l := range lines {
				if n := len([]rune(l)); n > size[0] || strings.ContainsAny(l, "\n\x1b") {
					t.Errorf("%v: line %q", size, l)
				}
			}
		}
	}
}

func TestRequestsASecondAreKnownFromTwoAnswersOfOneGeneration(t *testing.T) {
	t.Parallel()
	now := time.Now()
	m := watchModel{client: newControlClient("/x"), width: 80, height: 24}
	see := func(after time.Duration, pid int, requests uint64) string {
		m.take(seenMsg{status: handoff.ServiceStatus{PID: pid, Requests: requests}, at: now.Add(after)})
		return strings.Join(strings.Fields(m.lines()[2]), " ")
	}
	for i, test := range []struct {
		after    time.Duration
		pid      int
		requests uint64
		want     string
	}{
		{0, 1, 100, "?"},
		{2 * time.Second, 1, 300, "100"},
		{3 * time.Second, 2, 5, "?"}, // another generation
		{4 * time.Second, 2, 12, "7"},
	} {
		want := fmt.Sprintf("requests %s a second, %d in all", test.want, test.requests)
		if got := see(test.after, test.pid, test.requests); got != want {
			t.Errorf("answer %d: %q, want %q", i, got, want)
		}
	}
}
