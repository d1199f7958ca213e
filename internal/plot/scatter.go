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
	from, to, ok := s.rangeX()
	if !ok {
		return ErrEmpty
	}
	low, high := s.rangeY()

	p := plot.New()
	p.BackgroundColor = nil
	p.X.Min, p.X.Max = from.Seconds(), to.Seconds()
	p.Y.Min, p.Y.Max = low, high
	lane := 0.0
	if len(s.Failures) > 0 {
		lane = high * 1.9
		p.Y.Max = lane * 1.6
	}
	p.X.Label.Text = s.XLabel
	p.X.Tick.Marker = secondTicks{perWidth(width)}
	p.Y.Scale = plot.LogScale{}
	p.Y.Tick.Marker = latencyTicks{high, lane}
	ink(p)

	p.Add(grid{})
	for _, u := range s.Upgrades {
		if u.To < from || u.From > to {
			continue
		}
		p.Add(upgrade{u, from, to, s.Window})
	}
	for i, one := range s.Series {
		p.Add(dots{one.Points, palette[i%len(palette)].sentinel(0xb0), from, to})
	}
	if len(s.Failures) > 0 {
		p.Add(crosses{s.Failures, lane, from, to})
	}

	canvas := vgsvg.NewWith(vgsvg.UseWH(vg.Length(width), vg.Length(height)))
	c := draw.New(canvas)
	top := s.drawHead(c)
	p.Draw(draw.Crop(c, 6, -10, 2, -top))
	return dress(w, canvas, s.Title, width, height)
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
