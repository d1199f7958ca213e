package plot

import (
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"
)

func example() Scatter {
	s := Scatter{Title: `A <title> & more`, XLabel: "since the load began", Window: time.Second}
	for _, name := range []string{"new-conn", "think"} {
		one := Series{Name: name}
		for i := range 100 {
			one.Points = append(one.Points, Point{time.Duration(i) * 100 * time.Millisecond, time.Duration(i+1) * 50 * time.Microsecond})
		}
		s.Series = append(s.Series, one)
	}
	s.Upgrades = []Upgrade{{2 * time.Second, 3 * time.Second, "1"}, {8 * time.Second, 8 * time.Second, "2"}, {time.Hour, time.Hour, "not in view"}}
	s.To = 10 * time.Second
	s.Failures = []Failure{{2100 * time.Millisecond}, {time.Hour}}
	return s
}

func drawn(t *testing.T, s Scatter) string {
	t.Helper()
	var b strings.Builder
	if err := s.WriteSVG(&b, 600, 300); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAPictureIsWholeXMLThatNeedsNothingElse(t *testing.T) {
	t.Parallel()
	text := drawn(t, example())
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if outside := regexp.MustCompile(`(?i)(href|src|url\(|@import)[^>]*`).FindString(text); outside != "" {
		t.Errorf("it asks for %s", outside)
	}
	for _, want := range []string{`width="600" height="300"`, "A &lt;title&gt; &amp; more", "new-conn", "think", ">failed<", "since the load began", "5 ms", "4 s"} {
		if !strings.Contains(text, want) {
			t.Errorf("it has no %s", want)
		}
	}
	if strings.Contains(text, "not in view") {
		t.Error("an upgrade beyond the end is drawn")
	}
}

func TestEveryColourIsOneOfLightAndDark(t *testing.T) {
	t.Parallel()
	text := drawn(t, example())
	_, drawing, ok := strings.Cut(text, "</style>")
	if !ok {
		t.Fatal("no style")
	}
	if colour := regexp.MustCompile(`#[0-9A-Fa-f]{6}`).FindString(drawing); colour != "" {
		t.Errorf("%s is drawn, whatever the reader's colours are", colour)
	}
	for _, used := range regexp.MustCompile(`var\(--([a-z0-9-]+)\)`).FindAllStringSubmatch(drawing, -1) {
		if strings.Count(text, "--"+used[1]+":") != 2 {
			t.Errorf("%s has not two values", used[1])
		}
	}
}

func TestOnlyWhatIsInViewIsDrawn(t *testing.T) {
	t.Parallel()
	var all string
	for _, path := range regexp.MustCompile(`<path d="([^"]*)" style="[^"]*--failed`).FindAllStringSubmatch(drawn(t, example()), -1) {
		all += path[1]
	}
	// A cross is two lines; one is the legend's, one the failure's in view.
	if n := strings.Count(all, "M"); n != 4 {
		t.Errorf("%d lines of crosses, want 4", n)
	}
}

func TestPanelsHaveTheSameAxes(t *testing.T) {
	t.Parallel()
	long := example()
	short := Scatter{Title: "short", Series: []Series{{Name: "a", Points: []Point{{time.Second, 20 * time.Millisecond}}}}}
	var b strings.Builder
	if err := WritePanels(&b, "both", 600, 300, long, short); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if !strings.Contains(text, `width="600" height="600"`) || !strings.Contains(text, `aria-label="both"`) {
		t.Error("it has not the size and the name of both")
	}
	for _, number := range []string{">4 s<", ">failed<"} {
		if n := strings.Count(text, number); n < 2 {
			t.Errorf("%s is there %d times, not in each panel", number, n)
		}
	}
	if err := WritePanels(io.Discard, "none", 600, 300, Scatter{}); !errors.Is(err, ErrEmpty) {
		t.Errorf("%v", err)
	}
}

func TestNothingToDrawIsSaid(t *testing.T) {
	t.Parallel()
	s := Scatter{Upgrades: []Upgrade{{}}, Series: []Series{{Name: "none"}}}
	if err := s.WriteSVG(io.Discard, 600, 300); !errors.Is(err, ErrEmpty) {
		t.Errorf("%v", err)
	}
	for _, s := range []Scatter{
		{Failures: []Failure{{time.Second}}},
		{Series: []Series{{Points: []Point{{}}}}},
		{Series: []Series{{Points: []Point{{X: -time.Hour, Y: time.Hour}, {X: 48 * time.Hour, Y: time.Microsecond}}}}},
	} {
		for _, width := range []int{200, 348, 3000} {
			if err := s.WriteSVG(io.Discard, width, 100); err != nil {
				t.Errorf("%+v: %v", s, err)
			}
		}
	}
}

func TestNumbersOfAxesAreFewAndRound(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		low, high float64
		want      string
	}{
		{0, 8, "0 2 s 4 s 6 s 8 s"},
		{-1, 2, "−1 s 0 1 s 2 s"},
		{0, 0.3, "0 100 ms 200 ms 300 ms"},
		{0, 100, "0 30 s 1 min 90 s"},
		{0, 50000, "0 6 h 12 h"},
	} {
		var labels []string
		for _, tick := range (secondTicks{4}).Ticks(test.low, test.high) {
			labels = append(labels, tick.Label)
		}
		if got := strings.Join(labels, " "); got != test.want {
			t.Errorf("%v to %v: %s, want %s", test.low, test.high, got, test.want)
		}
	}
	var labels []string
	for _, tick := range (latencyTicks{0.5, 1}).Ticks(0.0004, 2) {
		if !tick.IsMinor() {
			labels = append(labels, tick.Label)
		}
	}
	if got := strings.Join(labels, " "); got != "1 ms 10 ms 100 ms failed" {
		t.Errorf("latencies: %s", got)
	}
}
