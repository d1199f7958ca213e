package plot

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"regexp"
	"strings"

	"gonum.org/v1/plot/vg/vgsvg"
)

// The chart library names a font that few have, and measures by it. These are
// as wide.
const fontFamily = "Arial, 'Liberation Sans', 'Helvetica Neue', Helvetica, sans-serif"

var (
	fontStyle = regexp.MustCompile(`font-family:[^;]*;font-variant:[^;]*;font-weight:[^;]*;font-style:[^;]*;`)
	opening   = regexp.MustCompile(`(?s)^.*?<svg [^>]*>`)
)

// dress writes canvas with the colours of light and dark, and with a name.
func dress(w io.Writer, canvas *vgsvg.Canvas, title string, width, height int) error {
	var raw bytes.Buffer
	if _, err := canvas.WriteTo(&raw); err != nil {
		return fmt.Errorf("plot: draw: %w", err)
	}
	var light, dark strings.Builder
	text := sentinels.ReplaceAllStringFunc(fontStyle.ReplaceAllString(raw.String(), ""), undress)
	for _, s := range shades() {
		fmt.Fprintf(&light, "--%s:%s;", s.name, s.light)
		fmt.Fprintf(&dark, "--%s:%s;", s.name, s.dark)
	}
	text = opening.ReplaceAllLiteralString(text, fmt.Sprintf(
		`<svg class="handoff-plot" xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="%s">
<style>.handoff-plot{%sfont-family:%s}@media(prefers-color-scheme:dark){.handoff-plot{%s}}</style>`,
		width, height, width, height, html.EscapeString(title), light.String(), fontFamily, dark.String()))
	_, err := io.WriteString(w, text)
	return err
}
