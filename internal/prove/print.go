package prove

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/internal/terminal"
)

// WriteJSON writes rep as JSON.
func (rep *Report) WriteJSON(w io.Writer) error {
	return terminal.WriteJSON(w, rep, true)
}

// WriteText writes rep as tables for a terminal.
func (rep *Report) WriteText(w io.Writer) error {
	safe := terminal.NewWriter(w)
	if err := rep.writeText(safe); err != nil {
		return err
	}
	return safe.Flush()
}

func (rep *Report) writeText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(rep.Shapes) > 0 {
		rep.textShapes(t)
		rep.textLatency(t)
	}
	for i, u := range rep.Upgrades {
		if u.Error != "" || i < 10 {
			fmt.Fprintf(t, "upgrade %d\tat %v: %s\n", u.N, u.Began.Sub(rep.Began).Round(time.Millisecond), u.sentence())
		}
		if u.Error != "" && u.Output != "" {
			fmt.Fprintf(t, "%s\n", indent(u.Output))
		}
	}
	t.Flush()
	for i, l := range rep.Losses {
		if i == 0 {
			fmt.Fprintf(w, "\nlost:\n")
		}
		fmt.Fprintf(w, "  %s × %s, %s, %s\n    %s\n    %s\n", number(l.Count), l.Shape, l.Kind, l.when(), sentence(l.Why), terminal.Line(l.Error))
	}
	for _, n := range rep.Notes {
		fmt.Fprintf(w, "\nnote: %s\n", n)
	}
	_, err := fmt.Fprintf(w, "\n%s: %s\n", strings.ToUpper(strings.ReplaceAll(string(rep.Verdict), "-", " ")), rep.Summary)
	return err
}

func (rep *Report) textShapes(t io.Writer) {
	kinds := rep.kinds()
	fmt.Fprintf(t, "\nshape\trequests\tfailed\t")
	for _, k := range kinds {
		fmt.Fprintf(t, "%s\t", k)
	}
	fmt.Fprintf(t, "retryable\treconnects\tclosed idle\n")
	row := func(name string, c load.Counters) {
		fmt.Fprintf(t, "%s\t%s\t%s\t", name, number(c.Requests), number(c.Failed))
		for _, k := range kinds {
			fmt.Fprintf(t, "%s\t", number(c.Failures[k]))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", number(c.Retryable), number(c.Reconnects), number(c.ClosedIdle))
	}
	for _, s := range rep.Shapes {
		row(s.Name, s.Counters)
	}
	row("all", rep.Total)
}

// kinds are those of which there were any.
func (rep *Report) kinds() (kinds []load.Kind) {
	for _, k := range load.FailureKinds() {
		if rep.Total.Failures[k] > 0 {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

func (rep *Report) textLatency(t io.Writer) {
	fmt.Fprintf(t, "\nlatency\trequests\tp50\tp99\tp99.9\tmax\n")
	for _, row := range rep.latencies() {
		fmt.Fprintf(t, "%s\n", strings.Join(row, "\t"))
	}
	fmt.Fprintln(t)
}

// latencies are the rows of the table.
func (rep *Report) latencies() (rows [][]string) {
	period := func(name string, p load.Period) {
		rows = append(rows, []string{name, number(p.Requests), milliseconds(p.P50), milliseconds(p.P99), milliseconds(p.P999), milliseconds(p.Max)})
	}
	s, a := rep.Steady, rep.Around
	period("steady", s)
	period("around upgrades", a)
	if len(rep.Upgrades) > 0 {
		rows = append(rows, []string{"ratio", "", ratio(a.P50, s.P50), ratio(a.P99, s.P99), ratio(a.P999, s.P999), ratio(a.Max, s.Max)})
	}
	return rows
}

// when is the time since the upgrade, in words.
func (l Loss) when() string {
	switch {
	case l.Last == 0:
		return "before the first upgrade"
	case l.Count == 1:
		return milliseconds(l.First) + " after an upgrade had begun"
	}
	return milliseconds(l.First) + " to " + milliseconds(l.Last) + " after an upgrade had begun"
}

func indent(s string) string { return "    " + strings.ReplaceAll(s, "\n", "\n    ") }
