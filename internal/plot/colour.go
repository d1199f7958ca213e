package plot

import (
	"fmt"
	"image/color"
	"regexp"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
)

// shade is a colour with a value for light and for dark. The chart library
// draws in its mark, a colour that nothing else has, and dress puts a CSS
// variable in the mark's place.
type shade struct {
	name        string
	mark        byte
	light, dark string
}

// sentinel has its alpha as its green: the library mixes a real one in.
func (s shade) sentinel(alpha byte) color.Color { return color.NRGBA{0x01, alpha, s.mark, 0xff} }

var sentinels = regexp.MustCompile(`#01([0-9A-F]{2})([0-9A-F]{2})`)

// undress puts the variable in a sentinel's place.
func undress(sentinel string) string {
	var alpha, mark byte
	if _, err := fmt.Sscanf(sentinel, "#01%02X%02X", &alpha, &mark); err != nil {
		return sentinel
	}
	for _, s := range shades() {
		switch {
		case s.mark != mark:
		case alpha == 0xff:
			return "var(--" + s.name + ")"
		default:
			return fmt.Sprintf("var(--%s);fill-opacity:%.2f", s.name, float64(alpha)/0xff)
		}
	}
	return sentinel
}

var (
	inkShade    = shade{"ink", 1, "#1f2328", "#e6edf3"}
	gridShade   = shade{"grid", 2, "#d8dee4", "#30363d"}
	upShade     = shade{"upgrade", 3, "#57606a", "#9ea7b3"}
	failedShade = shade{"failed", 4, "#d1001f", "#ff6a69"}
	groundShade = shade{"ground", 5, "#ffffff", "#0d1117"}
)

// palette is told apart by the colour-blind too (Okabe and Ito), and has no red:
// that is for what was lost.
var palette = []shade{
	{"series-0", 16, "#0072b2", "#58b0f0"},
	{"series-1", 17, "#c77700", "#f0a93b"},
	{"series-2", 18, "#008a63", "#35c99c"},
	{"series-3", 19, "#a3528a", "#e08fc6"},
	{"series-4", 20, "#5b5bd6", "#a3a3ff"},
	{"series-5", 21, "#8a7a00", "#e0d04a"},
	{"series-6", 22, "#1a8aa8", "#6fd3ec"},
	{"series-7", 23, "#6e5a4b", "#c9b09c"},
}

func shades() []shade {
	return append([]shade{inkShade, gridShade, upShade, failedShade, groundShade}, palette...)
}

// ink sets the axes' colours and fonts.
func ink(p *plot.Plot) {
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Color = inkShade.sentinel(0xff)
		axis.Tick.Color = inkShade.sentinel(0xff)
		axis.Tick.Length = vg.Length(4)
		axis.Tick.Label.Color = inkShade.sentinel(0xff)
		axis.Tick.Label.Font = font.Font{Typeface: family, Variant: "Sans", Size: 12}
		axis.Label.TextStyle.Color = inkShade.sentinel(0xff)
		axis.Label.TextStyle.Font = font.Font{Typeface: family, Variant: "Sans", Size: 12}
		axis.Padding = 3
		axis.LineStyle.Width = 0.8
		axis.Tick.LineStyle.Width = 0.8
	}
}
