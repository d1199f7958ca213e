package plot

import (
	"image/color"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// dots are a series. All of it is one path: a page has thousands.
type dots struct {
	points   []Point
	colour   color.Color
	from, to time.Duration
}

func (d dots) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	var path vg.Path
	for _, one := range d.points {
		if one.X >= d.from && one.X <= d.to {
			diamond(&path, vg.Point{X: x(one.X.Seconds()), Y: y(seconds(one.Y))}, 2.4)
		}
	}
	if len(path) > 0 {
		c.SetColor(d.colour)
		c.Fill(path)
	}
}

// crosses are the failures.
type crosses struct {
	failures []Failure
	lane     float64
	from, to time.Duration
}

func (f crosses) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	var path vg.Path
	for _, one := range f.failures {
		if one.X >= f.from && one.X <= f.to {
			path = append(path, cross(vg.Point{X: x(one.X.Seconds()), Y: y(f.lane)}, 4)...)
		}
	}
	if len(path) > 0 {
		c.SetLineWidth(1.5)
		c.SetColor(failedShade.sentinel(0xff))
		c.Stroke(path)
	}
}

// upgrade is a line at its beginning and a band up to its end, with a lighter
// one for the window after it.
type upgrade struct {
	Upgrade
	from, to time.Duration
	window   time.Duration
}

func (u upgrade) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	at := func(t time.Duration) vg.Length { return x(min(max(t, u.from), u.to).Seconds()) }
	band := func(from, to time.Duration, alpha byte) {
		if to <= from {
			return
		}
		c.SetColor(upShade.sentinel(alpha))
		c.Fill(vg.Rectangle{
			Min: vg.Point{X: at(from), Y: c.Min.Y}, Max: vg.Point{X: at(to), Y: c.Max.Y},
		}.Path())
	}
	band(u.From, u.To, 0x30)
	band(max(u.From, u.To), max(u.From, u.To)+u.window, 0x18)
	if u.From < u.from {
		return
	}
	left := at(u.From)
	c.SetLineWidth(1.2)
	c.SetColor(upShade.sentinel(0xff))
	c.Stroke(line(vg.Point{X: left, Y: c.Min.Y}, vg.Point{X: left, Y: c.Max.Y}))
	if u.Label != "" {
		f := face(10)
		place := left + 2.5
		if place+f.Width(u.Label) > c.Max.X {
			place = left - 2.5 - f.Width(u.Label)
		}
		c.FillString(f, vg.Point{X: place, Y: c.Min.Y + 3}, u.Label)
	}
}

// grid is a line at each number of an axis.
type grid struct{}

func (grid) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	c.SetLineWidth(0.6)
	c.SetColor(gridShade.sentinel(0xff))
	for _, t := range p.X.Tick.Marker.Ticks(p.X.Min, p.X.Max) {
		if !t.IsMinor() {
			c.Stroke(line(vg.Point{X: x(t.Value), Y: c.Min.Y}, vg.Point{X: x(t.Value), Y: c.Max.Y}))
		}
	}
	for _, t := range p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max) {
		if !t.IsMinor() {
			c.Stroke(line(vg.Point{X: c.Min.X, Y: y(t.Value)}, vg.Point{X: c.Max.X, Y: y(t.Value)}))
		}
	}
}

func line(a, b vg.Point) vg.Path {
	var p vg.Path
	p.Move(a)
	p.Line(b)
	return p
}

func cross(at vg.Point, r vg.Length) vg.Path {
	p := line(vg.Point{X: at.X - r, Y: at.Y - r}, vg.Point{X: at.X + r, Y: at.Y + r})
	return append(p, line(vg.Point{X: at.X - r, Y: at.Y + r}, vg.Point{X: at.X + r, Y: at.Y - r})...)
}

func diamond(p *vg.Path, at vg.Point, r vg.Length) {
	p.Move(vg.Point{X: at.X - r, Y: at.Y})
	p.Line(vg.Point{X: at.X, Y: at.Y + r})
	p.Line(vg.Point{X: at.X + r, Y: at.Y})
	p.Line(vg.Point{X: at.X, Y: at.Y - r})
	p.Close()
}
