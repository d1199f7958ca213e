package plot

import (
	"io"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// WritePanels draws pictures with the same axes, the first above the others, each
// in width times height pixels. title is the whole one's name for those who can't
// see it. Unlike a single picture it has a ground of its own, for pages whose
// colours don't follow the reader's.
func WritePanels(w io.Writer, title string, width, height int, panels ...Scatter) error {
	v, ok := viewOf(panels...)
	if !ok {
		return ErrEmpty
	}
	whole := height * len(panels)
	canvas := vgsvg.NewWith(vgsvg.UseWH(vg.Length(width), vg.Length(whole)))
	c := draw.New(canvas)
	c.SetColor(groundShade.sentinel(0xff))
	c.Fill(c.Rectangle.Path())
	for i, s := range panels {
		top := vg.Length(whole - i*height)
		s.draw(draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{
			Min: vg.Point{X: c.Min.X + 4, Y: top - vg.Length(height) + 4},
			Max: vg.Point{X: c.Max.X - 4, Y: top - 4},
		}}, v, width)
	}
	return dress(w, canvas, title, width, whole)
}
