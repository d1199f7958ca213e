package record

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Write puts run.json, run.md and the charts into a directory.
func (r *Run) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := r.Save(filepath.Join(dir, "run.json")); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "run.md"), []byte(r.Markdown()), 0o644); err != nil {
		return err
	}
	return r.Charts(dir)
}

// page is a Markdown text that grows.
type page struct{ strings.Builder }

func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// row is a line of a table; an empty cell is a dash.
func (p *page) row(cells ...string) {
	for i, c := range cells {
		if c == "" {
			cells[i] = "–"
		}
	}
	p.line("| %s |", strings.Join(cells, " | "))
}

func (p *page) head(cells ...string) {
	p.line("")
	p.line("| %s |", strings.Join(cells, " | "))
	p.line("|%s", strings.Repeat("---|", len(cells)))
}

// Markdown is the whole of a run for a reader.
func (r *Run) Markdown() string {
	p := new(page)
	p.line("# Side by side")
	p.line("")
	p.line("%s, %d CPUs (%s), Linux %s, %s, commit %s; %s. Load averages before each part and at the end: %s.",
		r.Began.Format("2006-01-02 15:04 MST"), r.Host.CPUs, r.Host.CPU, r.Host.Kernel, r.Host.Go, r.Host.Commit, r.Took, strings.Join(r.Host.LoadAvgs, ", "))
	if r.Quick {
		p.line("A quick run: all plain load shapes at the same time; for the number of measurements see the method.")
	}
	r.targets(p)
	r.lossTables(p)
	r.timeTables(p)
	r.latencyTable(p)
	r.steadyTable(p)
	r.memoryTable(p)
	p.line("\n## Servers")
	p.head("", "version", "upgraded by")
	for _, s := range r.Servers {
		p.row(s.Name, s.Version, s.How)
	}
	p.line("\n## Method\n")
	for _, m := range r.Method {
		p.line("- %s", m)
	}
	if len(r.Faults) > 0 {
		p.line("\n## Not measured\n")
		for _, f := range r.Faults {
			p.line("- %s", strings.ReplaceAll(f, "\n", " "))
		}
	}
	return p.String()
}

func (r *Run) targets(p *page) {
	p.line("\n## handoff's targets")
	p.head("target", "measured", "")
	for _, v := range r.Verdicts() {
		verdict := "over"
		switch {
		case v.Missing:
			verdict = "not measured"
		case v.Met:
			verdict = "met"
		}
		p.row(v.Target, v.Value, verdict)
	}
}

func (r *Run) shapes() (names []string) {
	for _, l := range r.Losses {
		if !slices.Contains(names, l.Shape) {
			names = append(names, l.Shape)
		}
	}
	return names
}

func (r *Run) loss(server, shape string) (Loss, bool) {
	for _, l := range r.Losses {
		if l.Server == server && l.Shape == shape {
			return l, true
		}
	}
	return Loss{}, false
}

// lossTable has a row for each server, and a column for each shape.
func (r *Run) lossTable(p *page, cell func(Loss) string) {
	p.head(append([]string{""}, r.shapes()...)...)
	for _, s := range r.Servers {
		cells := []string{s.Name}
		for _, shape := range r.shapes() {
			text := ""
			if l, ok := r.loss(s.Name, shape); ok {
				text = cell(l)
			}
			cells = append(cells, text)
		}
		p.row(cells...)
	}
}

func (r *Run) lossTables(p *page) {
	if len(r.Losses) == 0 {
		return
	}
	per := func(n uint64, l Loss) string {
		if n == 0 {
			return "**0**"
		}
		return number(float64(n) / float64(l.Upgrades))
	}
	p.line("\n## Failed requests per upgrade")
	r.lossTable(p, func(l Loss) string { return per(l.Failed, l) })
	p.line("\n## Forced reconnects per upgrade")
	r.lossTable(p, func(l Loss) string {
		if !l.Keeps {
			return ""
		}
		return per(l.Reconnects, l)
	})
	p.line("\n## Failures by kind, in all")
	p.head("", "requests", "kinds", "old processes that hung")
	for _, s := range r.Servers {
		var requests uint64
		hung := 0
		kinds := map[string]uint64{}
		for _, l := range r.Losses {
			if l.Server == s.Name {
				requests += l.Requests
				hung = max(hung, l.Hung)
				for kind, n := range l.Failures {
					kinds[kind] += n
				}
			}
		}
		var texts []string
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			texts = append(texts, fmt.Sprintf("%d %s", kinds[kind], kind))
		}
		p.row(s.Name, fmt.Sprint(requests), strings.Join(texts, ", "), fmt.Sprint(hung))
	}
}

var timedCases = []string{CaseIdle, CaseHeap, CaseSixtyFour, CaseThousand, CaseConns}

func (r *Run) table(p *page, title string, rows []Server, columns []string, cell func(server, column string) string) {
	p.line("\n## %s", title)
	p.head(append([]string{""}, columns...)...)
	for _, s := range rows {
		cells := []string{s.Name}
		any := false
		for _, c := range columns {
			text := cell(s.Name, c)
			any = any || text != ""
			cells = append(cells, text)
		}
		if any {
			p.row(cells...)
		}
	}
}

func (r *Run) median(metric, where, server string) string {
	s, ok := r.Find(metric, where, server)
	if !ok {
		return ""
	}
	return Summarize(s.Values()).String()
}

func (r *Run) timeTables(p *page) {
	r.table(p, "Signal → first answer of the new process, ms", r.Servers, append(timedCases[:len(timedCases):len(timedCases)], "× tableflip, idle", CaseFloor), func(server, c string) string {
		switch c {
		case CaseFloor:
			return r.median("floor", c, server)
		case "× tableflip, idle":
			s := r.against("first_answer", CaseIdle, server, CaseIdle, "tableflip")
			if s.N == 0 {
				return ""
			}
			return s.String()
		}
		return r.median("first_answer", c, server)
	})
	r.table(p, "Commit → old process gone, ms", r.Servers, timedCases, func(server, c string) string {
		return r.median("commit_gone", c, server)
	})
	r.table(p, "Signal → old process gone, ms", r.Servers, timedCases, func(server, c string) string {
		text := r.median("signal_gone", c, server)
		if hung, ok := r.Find("hung", c, server); ok {
			text = strings.TrimSpace(fmt.Sprintf("%s %d hung", text, len(hung.Samples)))
		}
		return text
	})
	r.table(p, "Idle connections lost of 10,000", r.Servers, []string{CaseConns}, func(server, c string) string {
		return r.median("idle_lost", c, server)
	})
}

func (r *Run) latencyTable(p *page) {
	quantiles := []string{"p50", "p99", "p99.9", "max"}
	var columns []string
	for _, q := range quantiles {
		columns = append(columns, q+" steady", q+" around", q+" ratio")
	}
	r.table(p, "Latency around an upgrade and in steady state, ms", r.Servers, columns, func(server, c string) string {
		q, which, _ := strings.Cut(c, " ")
		if which != "ratio" {
			return r.median(q+"_"+which, CaseLatency, server)
		}
		around, _ := r.Find(q+"_around", CaseLatency, server)
		steady, _ := r.Find(q+"_steady", CaseLatency, server)
		if s := Ratio(around, steady); s.N > 0 {
			return s.String()
		}
		return ""
	})
}

func (r *Run) steadyTable(p *page) {
	r.table(p, "Steady state", r.Servers, []string{"requests/s", "× plain net/http", "allocations per request"}, func(server, c string) string {
		switch c {
		case "requests/s":
			return r.median("throughput", CaseSteady, server)
		case "allocations per request":
			return r.median("allocations", CaseSteady, server)
		}
		if s := r.against("throughput", CaseSteady, server, CaseSteady, "stop and start"); s.N > 0 {
			return s.String()
		}
		return ""
	})
}

func (r *Run) memoryTable(p *page) {
	columns := []string{"old, at the new one's first answer", "new, at its first answer", "new, when the old one is gone", "after 1 upgrade of 100", "after 100"}
	r.table(p, "Resident memory, MiB", r.Servers, columns, func(server, c string) string {
		switch c {
		case columns[0]:
			return r.median("rss_old", CaseIdle, server)
		case columns[1]:
			return r.median("rss_new", CaseIdle, server)
		case columns[2]:
			return r.median("rss_after", CaseIdle, server)
		}
		s, ok := r.Find("rss_after_100", "100 upgrades", server)
		if !ok || math.IsNaN(Summarize(s.Values()).Median) {
			return ""
		}
		if c == columns[3] {
			return number(s.Samples[0].Value)
		}
		last := s.Samples[len(s.Samples)-1]
		if last.Round != 100 {
			return fmt.Sprintf("%s after %d", number(last.Value), last.Round)
		}
		return number(last.Value)
	})
}
