// Package record holds what a run of the comparison has measured, and makes of it
// ratios, a verdict on the targets, a Markdown page and charts.
package record

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"
)

// Run is one run of the comparison, in which all servers took turns.
type Run struct {
	Began  time.Time `json:"began"`
	Took   string    `json:"took"`
	Quick  bool      `json:"quick"`
	Host   Machine   `json:"machine"`
	Method []string  `json:"method"` // a sentence each
	// Servers are what was compared, in the order of the tables.
	Servers []Server `json:"servers"`
	Losses  []Loss   `json:"losses"`
	Series  []Series `json:"series"`
	// Faults are what could not be measured, and why.
	Faults []string `json:"faults,omitempty"`
}

// Machine is where a run took place.
type Machine struct {
	CPU      string   `json:"cpu"`
	CPUs     int      `json:"cpus"`
	Kernel   string   `json:"kernel"`
	Go       string   `json:"go"`
	Commit   string   `json:"commit"`
	LoadAvgs []string `json:"load_averages"` // before each part, and after the last
}

// Server is one way to restart a server.
type Server struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	How     string `json:"how"` // it is upgraded
}

// Loss is what one server's clients have suffered under one load shape.
type Loss struct {
	Server   string `json:"server"`
	Shape    string `json:"shape"`
	Upgrades int    `json:"upgrades"`
	Requests uint64 `json:"requests"`
	Failed   uint64 `json:"failed"`
	// Failures has the failed requests by their kinds.
	Failures map[string]uint64 `json:"failures,omitempty"`
	// Workers had a connection each; Reconnects is how many more there were, where
	// the shape keeps its connection.
	Workers    int    `json:"workers"`
	Keeps      bool   `json:"keeps"`
	Reconnects uint64 `json:"reconnects"`
	// Hung are old processes that had to be killed when the time for an upgrade was
	// over.
	Hung int `json:"hung"`
}

// Series is one figure of one server, measured again and again.
type Series struct {
	Metric  string   `json:"metric"`
	Case    string   `json:"case"`
	Server  string   `json:"server"`
	Unit    string   `json:"unit"`
	Higher  bool     `json:"higher_is_better,omitempty"`
	Samples []Sample `json:"samples"`
}

// Sample is one measurement. Those of the same round were taken next to one
// another.
type Sample struct {
	Round int     `json:"round"`
	Value float64 `json:"value"`
}

// Values are the measurements alone.
func (s Series) Values() []float64 {
	values := make([]float64, len(s.Samples))
	for i, m := range s.Samples {
		values[i] = m.Value
	}
	return values
}

// Add appends a measurement.
func (r *Run) Add(metric, where, server, unit string, round int, value float64) {
	i := slices.IndexFunc(r.Series, func(s Series) bool {
		return s.Metric == metric && s.Case == where && s.Server == server
	})
	if i < 0 {
		i = len(r.Series)
		r.Series = append(r.Series, Series{Metric: metric, Case: where, Server: server, Unit: unit, Higher: unit == "req/s"})
	}
	r.Series[i].Samples = append(r.Series[i].Samples, Sample{round, value})
}

// Lose adds to what a server's clients have suffered.
func (r *Run) Lose(l Loss) {
	i := slices.IndexFunc(r.Losses, func(o Loss) bool { return o.Server == l.Server && o.Shape == l.Shape })
	if i < 0 {
		r.Losses = append(r.Losses, l)
		return
	}
	o := &r.Losses[i]
	o.Upgrades += l.Upgrades
	o.Requests += l.Requests
	o.Failed += l.Failed
	o.Reconnects += l.Reconnects
	o.Hung += l.Hung
	for kind, n := range l.Failures {
		if o.Failures == nil {
			o.Failures = map[string]uint64{}
		}
		o.Failures[kind] += n
	}
}

// Find returns a series, and false if it was not measured.
func (r *Run) Find(metric, where, server string) (Series, bool) {
	for _, s := range r.Series {
		if s.Metric == metric && s.Case == where && s.Server == server {
			return s, true
		}
	}
	return Series{}, false
}

// Load reads a run from a file.
func Load(path string) (*Run, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := new(Run)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// Save writes it.
func (r *Run) Save(path string) error {
	data, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
