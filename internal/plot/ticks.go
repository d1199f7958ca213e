package plot

import (
	"math"
	"strconv"
	"time"

	"gonum.org/v1/plot"
)

// perWidth is how many numbers an X axis has room for.
func perWidth(pixels int) int { return max(3, pixels/75) }

// secondTicks are at round times.
type secondTicks struct{ most int }

func (t secondTicks) Ticks(low, high float64) (ticks []plot.Tick) {
	step := time.Duration((high - low) / float64(t.most) * float64(time.Second))
	for _, round := range roundSteps {
		if step <= round {
			step = round
			break
		}
	}
	s := step.Seconds()
	for n := math.Ceil(low/s - 1e-9); n*s <= high+1e-9; n++ {
		at := time.Duration(n * float64(step))
		ticks = append(ticks, plot.Tick{Value: n * s, Label: short(at)})
	}
	return ticks
}

var roundSteps = func() (steps []time.Duration) {
	for unit := time.Millisecond; unit <= 10*time.Second; unit *= 10 {
		steps = append(steps, unit, 2*unit, 5*unit)
	}
	return append(steps[:len(steps)-2], 15*time.Second, 30*time.Second, time.Minute, 2*time.Minute, 5*time.Minute,
		10*time.Minute, 30*time.Minute, time.Hour, 3*time.Hour, 6*time.Hour, 12*time.Hour, 24*time.Hour)
}()

// latencyTicks are at the decades; high is where latencies end, lane where
// failures are, if there are any.
type latencyTicks struct{ high, lane float64 }

func (t latencyTicks) Ticks(low, _ float64) (ticks []plot.Tick) {
	// With few decades in view, 2 and 5 have their numbers as well.
	few := math.Log10(t.high/low) < 2.5
	for decade := math.Pow(10, math.Floor(math.Log10(low))); decade <= t.high; decade *= 10 {
		for n := 1.0; n < 10; n++ {
			v := n * decade
			if v < low || v > t.high {
				continue
			}
			tick := plot.Tick{Value: v}
			if n == 1 || few && (n == 2 || n == 5) {
				tick.Label = short(time.Duration(math.Round(v*1e9/10) * 10))
			}
			ticks = append(ticks, tick)
		}
	}
	if t.lane > 0 {
		ticks = append(ticks, plot.Tick{Value: t.lane, Label: "failed"})
	}
	return ticks
}

// short writes a time in one unit where that is round.
func short(d time.Duration) string {
	sign := ""
	if d < 0 {
		sign, d = "−", -d
	}
	number := func(unit time.Duration) string {
		return strconv.FormatFloat(math.Round(float64(d)/float64(unit)*1000)/1000, 'f', -1, 64)
	}
	switch {
	case d == 0:
		return "0"
	case d < time.Millisecond:
		return sign + number(time.Microsecond) + " µs"
	case d < time.Second:
		return sign + number(time.Millisecond) + " ms"
	case d < time.Minute || d%time.Minute != 0 && d < 10*time.Minute:
		return sign + number(time.Second) + " s"
	case d < time.Hour:
		return sign + number(time.Minute) + " min"
	}
	return sign + number(time.Hour) + " h"
}
