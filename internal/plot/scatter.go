package plot

import (
	"errors"
	"io"
	"math"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Scatter is a dot for each request: when it began, and how long it took.
type Scatter struct {
	// Title stands above, and is the picture's name for those who can't see it.
	Title string
	// XLabel says what X counts from.
	XLabel string
	// Series are drawn in this order, the last on top, each in its own colour up
	// to eight.
	Series []Series
	// Upgrades are lines, and bands where they take time.
	Upgrades []Upgrade
	// Failures are crosses in a lane of their own above the dots: a request that
	// was lost took no time that could be compared.
	Failures []Failure
	// From and To bound X. Both zero: what there is.
	From, To time.Duration
	// Window, where positive, is shaded after the upgrades, lighter than they.
	Window time.Duration
}

// Series are the requests of one kind.
type Series struct {
	Name   string
	Points []Point
}

// Point is a request: it began at X and took Y.
type Point struct{ X, Y time.Duration }

// Upgrade went on from From to To.
type Upgrade struct {
	From, To time.Duration
	Label    string
}

// Failure is a lost request, at X.
type Failure struct{ X time.Duration }

// ErrEmpty means that there is nothing to draw.
var ErrEmpty = errors.New("plot: neither a request nor a failure to draw")

// WriteSVG draws s in width times height pixels.
func (s Scatter) WriteSVG(w io.Writer, width, height int) error {
	v, ok := viewOf(s)
	if !ok {
		return ErrEmpty
	}
	canvas := vgsvg.NewWith(vgsvg.UseWH(vg.Length(width), vg.Length(height)))
	s.draw(draw.New(canvas), v, width)
	return dress(w, canvas, s.Title, width, height)
}

// view is what the axes show.
type view struct {
	from, to  time.Duration
	low, high float64 // seconds
	lane      float64 // where failures are; 0 if there are none
}

// viewOf is one that has room for all of the pictures. There is none of nothing.
func viewOf(all ...Scatter) (v view, ok bool) {
	v = view{from: math.MaxInt64, to: math.MinInt64, low: math.Inf(1)}
	failures := false
	for _, s := range all {
		from, to, some := s.rangeX()
		if !some {
			continue
		}
		ok = true
		low, high := s.rangeY()
		v.from, v.to = min(v.from, from), max(v.to, to)
		v.low, v.high = min(v.low, low), max(v.high, high)
		failures = failures || len(s.Failures) > 0
	}
	if failures {
		v.lane = v.high * 1.9
	}
	return v, ok
}

func (s Scatter) draw(c draw.Canvas, v view, width int) {
	p := plot.New()
	p.BackgroundColor = nil
	p.X.Min, p.X.Max = v.from.Seconds(), v.to.Seconds()
	p.Y.Min, p.Y.Max = v.low, v.high
	if v.lane > 0 {
		p.Y.Max = v.lane * 1.6
	}
	p.X.Label.Text = s.XLabel
	p.X.Tick.Marker = secondTicks{perWidth(width)}
	p.Y.Scale = plot.LogScale{}
	p.Y.Tick.Marker = latencyTicks{v.high, v.lane}
	ink(p)

	p.Add(grid{})
	for _, u := range s.Upgrades {
		if u.To < v.from || u.From > v.to {
			continue
		}
		p.Add(upgrade{u, v.from, v.to, s.Window})
	}
	for i, one := range s.Series {
		p.Add(dots{one.Points, palette[i%len(palette)].sentinel(0xb0), v.from, v.to})
	}
	if len(s.Failures) > 0 {
		p.Add(crosses{s.Failures, v.lane, v.from, v.to})
	}
	top := s.drawHead(c)
	p.Draw(draw.Crop(c, 6, -10, 2, -top))
}

// rangeX is what X spans. It is never of no width.
func (s Scatter) rangeX() (from, to time.Duration, ok bool) {
	from, to = math.MaxInt64, math.MinInt64
	see := func(x time.Duration) { from, to = min(from, x), max(to, x) }
	for _, one := range s.Series {
		for _, p := range one.Points {
			see(p.X)
		}
	}
	for _, f := range s.Failures {
		see(f.X)
	}
	ok = to >= from
	for _, u := range s.Upgrades {
		see(u.From)
	}
	if s.From != 0 || s.To != 0 {
		from, to = s.From, s.To
	}
	if to <= from {
		to = from + time.Second
	}
	return from, to, ok
}

// rangeY is what the latencies span, in seconds, at least a decade.
func (s Scatter) rangeY() (low, high float64) {
	low, high = math.Inf(1), 0
	for _, one := range s.Series {
		for _, p := range one.Points {
			y := seconds(p.Y)
			low, high = min(low, y), max(high, y)
		}
	}
	if high == 0 {
		return 1e-4, 1e-2
	}
	low, high = low/1.3, high*1.3
	return min(low, high/10), high
}

// seconds is at least a microsecond: a logarithm needs something.
func seconds(d time.Duration) float64 { return max(d, time.Microsecond).Seconds() }

const family = "Liberation"

func face(size font.Length) font.Face {
	return plot.DefaultTextHandler.Cache().Lookup(font.Font{Typeface: family, Variant: "Sans"}, size)
}
