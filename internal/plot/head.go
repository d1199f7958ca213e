package plot

import (
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const (
	titleSize  = 14
	legendSize = 12
	lineHeight = 17
)

// drawHead writes the title and the legend, in as many lines as that takes, and
// returns their height.
func (s Scatter) drawHead(c draw.Canvas) vg.Length {
	y := c.Max.Y
	if s.Title != "" {
		y -= titleSize + 4
		c.SetColor(inkShade.sentinel(0xff))
		c.FillString(face(titleSize), vg.Point{X: c.Min.X + 4, Y: y}, s.Title)
		y -= 4
	}
	type entry struct {
		name string
		draw func(at vg.Point)
	}
	var entries []entry
	for i, one := range s.Series {
		entries = append(entries, entry{one.Name, func(at vg.Point) {
			c.SetColor(palette[i%len(palette)].sentinel(0xff))
			var path vg.Path
			diamond(&path, at, 4)
			c.Fill(path)
		}})
	}
	if len(s.Upgrades) > 0 {
		entries = append(entries, entry{"upgrade", func(at vg.Point) {
			c.SetLineWidth(1.2)
			c.SetColor(upShade.sentinel(0xff))
			c.Stroke(line(vg.Point{X: at.X, Y: at.Y - 6}, vg.Point{X: at.X, Y: at.Y + 6}))
		}})
	}
	if len(s.Failures) > 0 {
		entries = append(entries, entry{"failed", func(at vg.Point) {
			c.SetLineWidth(1.5)
			c.SetColor(failedShade.sentinel(0xff))
			c.Stroke(cross(at, 4))
		}})
	}
	if len(entries) == 0 {
		return c.Max.Y - y + 4
	}
	f := face(legendSize)
	x := c.Min.X + 10
	y -= lineHeight
	for _, e := range entries {
		width := f.Width(e.name)
		if x+8+width > c.Max.X-4 && x > c.Min.X+10 {
			x = c.Min.X + 10
			y -= lineHeight
		}
		e.draw(vg.Point{X: x, Y: y + 4})
		c.SetColor(inkShade.sentinel(0xff))
		c.FillString(f, vg.Point{X: x + 8, Y: y}, e.name)
		x += 8 + width + 18
	}
	return c.Max.Y - y + 10
}
