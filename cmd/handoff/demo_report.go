//go:build !small

package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
)

// report is what the demo found; --json prints it as it is.
type report struct {
	Upgrades        []upgrade     `json:"upgrades"`
	FirstAnswerP50  time.Duration `json:"first_answer_p50_ns"`
	FirstAnswerMax  time.Duration `json:"first_answer_max_ns"`
	WorkersPerShape int           `json:"workers_per_shape"`
	Window          time.Duration `json:"window_ns"`
	Load            load.Result   `json:"load"`
}

// upgrade is one of them. FirstAnswer counts from the signal.
type upgrade struct {
	Signalled   time.Time     `json:"signalled"`
	PID         int           `json:"pid"`
	Generation  int           `json:"generation"`
	Version     int           `json:"version"`
	FirstAnswer time.Duration `json:"first_answer_ns"`
}

func (r *report) finish() {
	var took []time.Duration
	for _, u := range r.Upgrades {
		took = append(took, u.FirstAnswer)
	}
	if len(took) > 0 {
		slices.Sort(took)
		r.FirstAnswerP50, r.FirstAnswerMax = took[len(took)/2], took[len(took)-1]
	}
}

// verdict is the error with which the demo ends.
func (r *report) verdict() error {
	switch {
	case r.Load.Failed > 0:
		return fmt.Errorf("%s of %s requests failed", number(r.Load.Failed), number(r.Load.Requests))
	case r.Load.OK == 0:
		return errors.New("not one request was answered, so nothing is proven")
	}
	return nil
}

func (r *report) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\nupgrades\t%d\n", len(r.Upgrades))
	fmt.Fprintf(t, "requests\t%s\tin %v by %d clients: %s\n", number(r.Load.Requests),
		r.Load.Ended.Sub(r.Load.Began).Round(100*time.Millisecond), r.WorkersPerShape*len(r.Load.Shapes), strings.Join(r.Load.Shapes, ", "))
	fmt.Fprintf(t, "failed\t%s\t%s\n", number(r.Load.Failed), r.kinds())
	fmt.Fprintf(t, "connections\t%s\tof which the server ended %s after an answer\n",
		number(r.Load.Connections), number(r.Load.Reconnects))
	if len(r.Upgrades) > 0 {
		fmt.Fprintf(t, "first answer\t%s\tat the median after the signal, %s at most\n",
			milliseconds(r.FirstAnswerP50), milliseconds(r.FirstAnswerMax))
	}
	fmt.Fprintf(t, "\nlatency\trequests\tp50\tp99\tp99.9\tmax\n")
	for _, p := range []struct {
		name string
		load.Period
	}{{"steady", r.Load.Steady}, {fmt.Sprintf("%v after a signal", r.Window.Round(time.Millisecond)), r.Load.Around}} {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", p.name, number(p.Requests),
			milliseconds(p.P50), milliseconds(p.P99), milliseconds(p.P999), milliseconds(p.Max))
	}
	for i, f := range r.Load.Errors {
		if i == 5 {
			fmt.Fprintf(t, "... and more\n")
			break
		}
		fmt.Fprintf(t, "lost: %s %s, %s: %s\n", f.Time.Format("15:04:05.000"), f.Shape, f.Kind, f.Error)
	}
	return t.Flush()
}

func (r *report) kinds() string {
	var parts []string
	for _, k := range load.FailureKinds() {
		parts = append(parts, fmt.Sprintf("%s %s", k, number(r.Load.Failures[k])))
	}
	return strings.Join(parts, ", ")
}

// number writes n with a comma after each three digits.
func number(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func milliseconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds()*1000, 'f', 2, 64) + " ms"
}
