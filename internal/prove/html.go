package prove

import (
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/internal/plot"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"number": number,
	"ms":     milliseconds,
	"when":   Loss.when,
	"upper":  func(v Verdict) string { return strings.ReplaceAll(string(v), "-", " ") },
	"how":    func(u Upgrade) string { return u.sentence() },
	"ratio":  ratio,
	"full":   sentence,
}).Parse(pageText))

// WriteSVG writes the picture of all the time alone. Where there was no request,
// it is an error.
func (rep *Report) WriteSVG(w io.Writer) error { return rep.Timeline().WriteSVG(w, 960, 400) }

// WriteHTML writes rep as one page that needs nothing else.
func (rep *Report) WriteHTML(w io.Writer) error {
	data := struct {
		*Report
		Charts    []template.HTML
		Kinds     []load.Kind
		Latencies [][]string
		Duration  string
		Since     func(time.Time) string
	}{
		Report: rep, Kinds: rep.kinds(), Latencies: rep.latencies(),
		Duration: rep.Ended.Sub(rep.Began).Round(time.Second).String(),
		Since:    func(t time.Time) string { return fmt.Sprintf("%.1f s", t.Sub(rep.Began).Seconds()) },
	}
	charts := []plot.Scatter{rep.Timeline()}
	if len(rep.Upgrades) > 0 {
		charts = append(charts, rep.Fold())
	}
	for _, c := range charts {
		drawn, err := svg(c)
		if errors.Is(err, plot.ErrEmpty) {
			continue
		} else if err != nil {
			return err
		}
		data.Charts = append(data.Charts, drawn)
	}
	return page.Execute(w, data)
}
