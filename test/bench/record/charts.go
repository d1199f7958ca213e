package record

import (
	"math"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"image/color"
)

var (
	oursColor   = color.RGBA{R: 0x1b, G: 0x7f, B: 0x5c, A: 0xff}
	theirsColor = color.RGBA{R: 0xa8, G: 0xb3, B: 0xc1, A: 0xff}
)

// bar is one server's in a chart.
type bar struct {
	name  string
	value float64
}

// Charts draws what the README shows: losses.svg, first-answer.svg, gone.svg.
func (r *Run) Charts(dir string) error {
	for _, c := range []struct {
		file, title string
		bars        []bar
	}{
		{"losses.svg", "Failed requests per upgrade, all load shapes together", r.lossBars()},
		{"first-answer.svg", "Signal to first answer of the new process, ms (median, idle)", r.bars("first_answer", CaseIdle)},
		{"idle-connections.svg", "Idle connections lost of 10,000 in one upgrade (median)", r.bars("idle_lost", CaseConns)},
		{"throughput.svg", "Requests per second in steady state (median)", r.bars("throughput", CaseSteady)},
	} {
		if len(c.bars) == 0 {
			continue
		}
		if err := draw(filepath.Join(dir, c.file), c.title, c.bars); err != nil {
			return err
		}
	}
	return nil
}

func (r *Run) lossBars() (bars []bar) {
	for _, s := range r.Servers {
		sum, any := 0.0, false
		for _, l := range r.Losses {
			if l.Server == s.Name {
				sum += float64(l.Failed) / float64(max(l.Upgrades, 1))
				any = true
			}
		}
		if any {
			bars = append(bars, bar{s.Name, sum})
		}
	}
	return bars
}

func (r *Run) bars(metric, where string) (bars []bar) {
	for _, s := range r.Servers {
		if found, ok := r.Find(metric, where, s.Name); ok {
			bars = append(bars, bar{s.Name, Summarize(found.Values()).Median})
		}
	}
	return bars
}

// draw makes a chart of horizontal bars, the first on top.
func draw(path, title string, bars []bar) error {
	p := plot.New()
	p.Title.Text = title
	p.Title.Padding = vg.Points(6)
	p.X.Min = 0
	p.BackgroundColor = color.White
	n := len(bars)
	names := make([]string, n)
	for i, b := range bars {
		at := n - 1 - i
		names[at] = b.name
		chart, err := plotter.NewBarChart(plotter.Values{b.value}, vg.Points(14))
		if err != nil {
			return err
		}
		chart.Horizontal, chart.XMin, chart.LineStyle.Width = true, float64(at), 0
		chart.Color = theirsColor
		if b.name == Ours {
			chart.Color = oursColor
		}
		p.Add(chart)
	}
	labels, err := plotter.NewLabels(labelsOf(bars))
	if err != nil {
		return err
	}
	for i := range labels.TextStyle {
		labels.TextStyle[i].YAlign = -0.4
	}
	labels.Offset.X = vg.Points(4)
	p.Add(labels)
	p.NominalY(names...)
	p.X.Max = 1.15 * math.Max(widest(bars), 1e-3)
	return p.Save(vg.Points(560), vg.Points(float64(60+24*n)), path)
}

func labelsOf(bars []bar) plotter.XYLabels {
	var l plotter.XYLabels
	for i, b := range bars {
		l.XYs = append(l.XYs, plotter.XY{X: b.value, Y: float64(len(bars) - 1 - i)})
		l.Labels = append(l.Labels, number(b.value))
	}
	return l
}

func widest(bars []bar) (most float64) {
	for _, b := range bars {
		most = math.Max(most, b.value)
	}
	return most
}
