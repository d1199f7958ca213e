package prove

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/internal/plot"
)

// maxDots of a chart, so that a page stays of a size that can be mailed.
const maxDots = 2500

// Timeline draws each request's latency by the time at which it began.
func (rep *Report) Timeline() plot.Scatter {
	s := plot.Scatter{
		Title: "Latency of requests over time", XLabel: "since the load began",
		To: rep.Ended.Sub(rep.Began), Window: rep.Window,
	}
	s.Series = rep.series(func(t load.Sample) (time.Duration, bool) { return t.Time.Sub(rep.Began), true })
	for _, u := range rep.Upgrades {
		from := u.Began.Sub(rep.Began)
		s.Upgrades = append(s.Upgrades, plot.Upgrade{From: from, To: from + u.Took, Label: fmt.Sprint(u.N)})
	}
	for _, f := range rep.Failures {
		s.Failures = append(s.Failures, plot.Failure{X: f.Time.Sub(rep.Began)})
	}
	return s
}

// Fold lays all upgrades over each other: each request's latency by the time
// since the upgrade that was nearest.
func (rep *Report) Fold() plot.Scatter {
	before, after := rep.Window, rep.Window
	for _, u := range rep.Upgrades {
		after = max(after, u.Took+rep.Window)
	}
	after += rep.Window
	for _, f := range rep.Failures {
		if f.SinceUpgrade < 30*time.Second {
			after = max(after, f.SinceUpgrade+rep.Window/4)
		}
	}
	s := plot.Scatter{
		Title: "Around the upgrades, laid over each other", XLabel: "since the upgrade began",
		From: -before, To: after, Upgrades: []plot.Upgrade{{}},
	}
	s.Series = rep.series(func(one load.Sample) (time.Duration, bool) {
		x := rep.sinceNearest(one.Time, before)
		return x, x >= -before && x <= after
	})
	for _, f := range rep.Failures {
		if f.Upgrade > 0 {
			s.Failures = append(s.Failures, plot.Failure{X: f.SinceUpgrade})
		}
	}
	return s
}

// sinceNearest counts from the upgrade that begins within before after t, or
// else from the last before t.
func (rep *Report) sinceNearest(t time.Time, before time.Duration) time.Duration {
	since := time.Duration(math.MaxInt64)
	for _, u := range rep.Upgrades {
		if x := t.Sub(u.Began); x >= -before {
			since = x
		}
	}
	return since
}

// series are the samples by shape, where at has a place for them.
func (rep *Report) series(at func(load.Sample) (time.Duration, bool)) (all []plot.Series) {
	for _, s := range rep.Shapes {
		all = append(all, plot.Series{Name: s.Name})
	}
	n := 0
	for _, one := range rep.samples {
		i := slices.IndexFunc(rep.Shapes, func(s Shape) bool { return s.Name == one.Shape })
		if x, ok := at(one); ok && i >= 0 {
			n++
			all[i].Points = append(all[i].Points, plot.Point{X: x, Y: one.Latency})
		}
	}
	if n > maxDots {
		for i := range all {
			all[i].Points = thin(all[i].Points, n)
		}
	}
	return all
}

// thin leaves maxDots of n out, but never what took longest.
func thin(points []plot.Point, n int) []plot.Point {
	sorted := slices.Clone(points)
	slices.SortFunc(sorted, func(a, b plot.Point) int { return int(b.Y - a.Y) })
	longest := math.MaxInt
	if len(sorted) > 20 {
		longest = int(sorted[len(sorted)/20].Y)
	}
	every := float64(n) / maxDots
	next := 0.0
	return slices.DeleteFunc(slices.Clone(points), func(p plot.Point) bool {
		next--
		if next <= 0 {
			next += every
			return false
		}
		return int(p.Y) < longest
	})
}

// svg draws a chart for a page of each width.
func svg(s plot.Scatter) (template.HTML, error) {
	var b strings.Builder
	for _, size := range []struct {
		class         string
		width, height int
	}{{"wide", 960, 400}, {"narrow", 348, 340}} {
		fmt.Fprintf(&b, "<figure class=%q>", size.class)
		if err := s.WriteSVG(&b, size.width, size.height); err != nil {
			return "", err
		}
		b.WriteString("</figure>\n")
	}
	return template.HTML(b.String()), nil
}
