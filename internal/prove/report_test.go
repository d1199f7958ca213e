package prove

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
)

func TestEveryKindOfFailureHasItsOwnWords(t *testing.T) {
	t.Parallel()
	said := map[string]load.Failure{}
	for _, f := range []load.Failure{
		{Kind: load.Refused},
		{Kind: load.Connect, Stage: load.Handshaking},
		{Kind: load.Connect, Error: "dial unix /a: connect: no such file or directory"},
		{Kind: load.Connect, Error: "i/o timeout"},
		{Kind: load.EOF, Stage: load.Sent},
		{Kind: load.EOF, Stage: load.Sent, Kept: true},
		{Kind: load.Reset, Stage: load.Sending, Kept: true},
		{Kind: load.Torn, Stage: load.Answering},
		{Kind: load.Timeout, Stage: load.Sent},
		{Kind: load.Timeout, Stage: load.Sending},
		{Kind: load.Status, Error: "502 Bad Gateway"},
		{Kind: load.Status, Error: "404 Not Found"},
		{Kind: load.Mismatch, Stage: load.Answering},
	} {
		text := why(f, load.HTTP1)
		if other, twice := said[text]; twice || text == "" || strings.Contains(text, "no known") {
			t.Errorf("%+v and %+v: %q", f, other, text)
		}
		said[text] = f
	}
	for _, proto := range []string{load.WebSocket, load.H2C, load.GRPCHealth} {
		if text := why(load.Failure{Kind: load.EOF, Stage: load.Sent, Kept: true}, proto); strings.Contains(text, "Shutdown") || text == "" {
			t.Errorf("%s: %q", proto, text)
		}
	}
	for _, k := range load.FailureKinds() {
		if text := why(load.Failure{Kind: k, Stage: load.Sent}, load.HTTP1); strings.Contains(text, "no known") {
			t.Errorf("%s has no words", k)
		}
	}
}

// made is the report of 10,000 requests.
func made() *Report {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rep := &Report{Version: Version, URL: "http://a.example/<b>", Began: began, Ended: began.Add(time.Minute), Window: time.Second,
		Shapes: []Shape{{Name: "think"}, {Name: "new-conn"}}, Verdict: Proven, Summary: "Of many none failed, as it seems."}
	for i := range 10 {
		rep.Upgrades = append(rep.Upgrades, Upgrade{N: i + 1, Began: began.Add(time.Duration(5*i+5) * time.Second), Took: 200 * time.Millisecond})
	}
	for range 10000 {
		at := began.Add(rand.N(time.Minute))
		rep.samples = append(rep.samples, load.Sample{Time: at, Latency: time.Millisecond + rand.N(time.Millisecond), Shape: rep.Shapes[rand.IntN(2)].Name})
	}
	rep.samples[7777].Latency = time.Second
	return rep
}

func TestChartsAreThinnedAndKeepWhatTookLongest(t *testing.T) {
	t.Parallel()
	rep := made()
	n, longest := 0, time.Duration(0)
	for _, s := range rep.Timeline().Series {
		n += len(s.Points)
		for _, p := range s.Points {
			longest = max(longest, p.Y)
		}
	}
	if n < maxDots || n > maxDots*5/4 || longest != time.Second {
		t.Errorf("%d dots, the longest %v", n, longest)
	}
	fold := rep.Fold()
	for _, s := range fold.Series {
		for _, p := range s.Points {
			if p.X < fold.From || p.X > fold.To {
				t.Fatalf("a dot at %v, from %v to %v", p.X, fold.From, fold.To)
			}
		}
	}
	var page strings.Builder
	if err := rep.WriteHTML(&page); err != nil || page.Len() > 1<<20 {
		t.Errorf("a page of %d bytes: %v", page.Len(), err)
	}
	if strings.Contains(page.String(), "/<b>") {
		t.Error("the URL isn't escaped")
	}
}

func TestTimesCountFromTheUpgradeBeforeThem(t *testing.T) {
	t.Parallel()
	rep := made()
	for at, want := range map[time.Duration]time.Duration{
		4500 * time.Millisecond: -500 * time.Millisecond,
		5 * time.Second:         0,
		7 * time.Second:         2 * time.Second,
		9500 * time.Millisecond: -500 * time.Millisecond,
	} {
		if got := rep.sinceNearest(rep.Began.Add(at), time.Second); got != want {
			t.Errorf("at %v: %v, want %v", at, got, want)
		}
	}
	rep.addFailure(load.Failure{Time: rep.Began.Add(time.Second), Shape: "think", Kind: load.EOF}, load.HTTP1)
	rep.addFailure(load.Failure{Time: rep.Began.Add(11 * time.Second), Shape: "think", Kind: load.EOF}, load.HTTP1)
	if f := rep.Failures; f[0].Upgrade != 0 || f[1].Upgrade != 2 || f[1].SinceUpgrade != time.Second || len(rep.Losses) != 1 || rep.Losses[0].Count != 2 {
		t.Errorf("%+v, %+v", f, rep.Losses)
	}
}
