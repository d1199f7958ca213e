package record

import (
	"fmt"
	"math"
)

// Change is a figure of two runs.
type Change struct {
	What     string
	Old, New Summary
	// Ratio is New's median by Old's; Noise is by how much of itself it may differ
	// from 1 with nothing behind it.
	Ratio, Noise float64
	Worse        bool // beyond the noise
	Better       bool // the same
}

// leastNoise is what two runs of the same code on one machine differ by.
const leastNoise = 0.10

// fewSamples is how many a median needs to be believed with its quartiles alone.
const fewSamples = 5

// Compare tells how the figures of [Ours] have changed from one run to another: its
// losses and its times. Of what depends on the machine's speed it compares the ratio
// to plain net/http or to the floor in each run's own rounds, where there is one.
//
// The noise is three times the standard error of the difference of the medians,
// estimated from the quartiles, a tenth at least, and twice as much with less than
// five measurements. A loss has no noise where there was none.
func Compare(before, after *Run) []Change {
	var changes []Change
	for _, now := range after.Losses {
		if now.Server != Ours {
			continue
		}
		for _, was := range before.Losses {
			if was.Server == Ours && was.Shape == now.Shape {
				changes = append(changes,
					count("failures per upgrade, "+now.Shape, was.Failed, was.Upgrades, now.Failed, now.Upgrades))
				if now.Keeps {
					changes = append(changes,
						count("reconnects per upgrade, "+now.Shape, was.Reconnects, was.Upgrades, now.Reconnects, now.Upgrades))
				}
			}
		}
	}
	for _, now := range after.Series {
		if now.Server != Ours {
			continue
		}
		was, ok := before.Find(now.Metric, now.Case, Ours)
		if !ok {
			continue
		}
		what := now.Metric + ", " + now.Case
		a, b := Summarize(was.Values()), Summarize(now.Values())
		if yard, whole := yardstick(before, was), yardstick(after, now); yard.N > 0 && whole.N > 0 {
			what, a, b = what+" (by the yardstick of its run)", yard, whole
		}
		changes = append(changes, compare(what, a, b, now.Higher))
	}
	return changes
}

// yardstick divides by what tells how fast the machine was.
func yardstick(r *Run, s Series) Summary {
	switch s.Metric {
	case "throughput":
		plain, _ := r.Find(s.Metric, s.Case, "stop and start")
		return Ratio(s, plain)
	case "first_answer":
		peer, _ := r.Find(s.Metric, s.Case, "tableflip")
		return Ratio(s, peer)
	}
	return Summary{}
}

func count(what string, was uint64, wasUpgrades int, now uint64, nowUpgrades int) Change {
	per := func(n uint64, upgrades int) Summary {
		v := float64(n) / float64(max(upgrades, 1))
		return Summary{N: 1, Low: v, Median: v, Top: v}
	}
	c := Change{What: what, Old: per(was, wasUpgrades), New: per(now, nowUpgrades)}
	c.Ratio = ratio(c.New.Median, c.Old.Median)
	// Counts scatter by their square root.
	noise := 3 * math.Sqrt(float64(was)) / float64(max(wasUpgrades, 1))
	c.Worse = c.New.Median > c.Old.Median+noise
	c.Better = c.New.Median < c.Old.Median-noise
	if c.Old.Median > 0 {
		c.Noise = noise / c.Old.Median
	}
	return c
}

func compare(what string, was, now Summary, higher bool) Change {
	c := Change{What: what, Old: was, New: now, Ratio: ratio(now.Median, was.Median)}
	c.Noise = max(leastNoise, 3*math.Hypot(relativeError(was), relativeError(now)))
	if min(was.N, now.N) < fewSamples {
		c.Noise *= 2
	}
	up, down := c.Ratio > 1+c.Noise, c.Ratio < 1/(1+c.Noise)
	c.Worse, c.Better = up, down
	if higher {
		c.Worse, c.Better = down, up
	}
	return c
}

// relativeError is the standard error of a median, as a part of it: for what
// scatters normally, the quartiles lie 1.35 standard deviations apart, and the
// median's error is 1.25 of the mean's.
func relativeError(s Summary) float64 {
	if s.N == 0 || s.Median == 0 {
		return 0
	}
	return 1.25 * s.Spread() / 1.35 / math.Sqrt(float64(s.N)) / math.Abs(s.Median)
}

func ratio(a, b float64) float64 {
	if a == b {
		return 1
	}
	return a / b
}

func (c Change) String() string {
	verdict := "same"
	switch {
	case c.Worse:
		verdict = "WORSE"
	case c.Better:
		verdict = "better"
	}
	return fmt.Sprintf("%-6s  %s: %v → %v, × %.2f (noise ± %.0f %%)", verdict, c.What, c.Old, c.New, c.Ratio, 100*c.Noise)
}
