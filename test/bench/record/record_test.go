package record

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAMedianComesWithItsQuartiles(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		values []float64
		want   Summary
	}{
		{[]float64{7}, Summary{1, 7, 7, 7}},
		{[]float64{3, 1}, Summary{2, 1.5, 2, 2.5}},
		{[]float64{5, 1, 4, 2, 3}, Summary{5, 2, 3, 4}},
	} {
		if got := Summarize(tc.values); got != tc.want {
			t.Errorf("%v: got %+v, want %+v", tc.values, got, tc.want)
		}
	}
	if s := Summarize(nil); s.N != 0 || !math.IsNaN(s.Median) || s.String() != "–" {
		t.Errorf("of nothing: %+v, %q", s, s)
	}
}

func series(values ...float64) Series {
	var s Series
	for i, v := range values {
		s.Samples = append(s.Samples, Sample{i, v})
	}
	return s
}

func TestARatioPairsWhatWasMeasuredInTheSameRound(t *testing.T) {
	t.Parallel()
	// The machine is ten times slower in the second round; the ratio doesn't see it.
	ours, theirs := series(2, 20, 2), series(1, 10, 1)
	if got := Ratio(ours, theirs); got != (Summary{3, 2, 2, 2}) {
		t.Errorf("got %+v", got)
	}
	theirs.Samples = theirs.Samples[1:]
	if got := Ratio(ours, theirs); got.N != 2 || got.Median != 2 {
		t.Errorf("a round of one alone counts: %+v", got)
	}
	if got := Ratio(ours, Series{}); got.N != 0 {
		t.Errorf("with nothing: %+v", got)
	}
}

func runWith(failed uint64, values ...float64) *Run {
	r := &Run{Losses: []Loss{{Server: Ours, Shape: "keep-alive", Upgrades: 10, Failed: failed, Keeps: true}}}
	for i, v := range values {
		r.Add("commit_gone", CaseIdle, Ours, "ms", i, v)
	}
	return r
}

func worse(changes []Change) (found []string) {
	for _, c := range changes {
		if c.Worse {
			found = append(found, c.What)
		}
	}
	return found
}

func TestCompareFlagsWhatIsWorseBeyondTheNoise(t *testing.T) {
	t.Parallel()
	quiet := []float64{10, 10.1, 9.9, 10, 10.2, 9.8}
	noisy := []float64{10, 20, 5, 14, 7, 11}
	times := func(values []float64, by float64) []float64 {
		out := make([]float64, len(values))
		for i, v := range values {
			out[i] = v * by
		}
		return out
	}
	for _, tc := range []struct {
		sentence      string
		before, after *Run
		want          string
	}{
		{"the same", runWith(0, quiet...), runWith(0, quiet...), ""},
		{"a fifth slower, little noise", runWith(0, quiet...), runWith(0, times(quiet, 1.2)...), "commit_gone, idle"},
		{"a fifth slower, much noise", runWith(0, noisy...), runWith(0, times(noisy, 1.2)...), ""},
		{"five times slower, much noise", runWith(0, noisy...), runWith(0, times(noisy, 5)...), "commit_gone, idle"},
		{"faster", runWith(0, quiet...), runWith(0, times(quiet, 0.5)...), ""},
		{"one request lost where none was", runWith(0, quiet...), runWith(1, quiet...), "failures per upgrade, keep-alive"},
		{"as many lost as before", runWith(100, quiet...), runWith(110, quiet...), ""},
		{"many more lost", runWith(100, quiet...), runWith(200, quiet...), "failures per upgrade, keep-alive"},
	} {
		if got := strings.Join(worse(Compare(tc.before, tc.after)), "; "); got != tc.want {
			t.Errorf("%s: flagged %q, want %q", tc.sentence, got, tc.want)
		}
	}
}

func TestMoreRequestsPerSecondAreBetter(t *testing.T) {
	t.Parallel()
	run := func(ours float64) *Run {
		r := new(Run)
		for i := range 6 {
			r.Add("throughput", CaseSteady, Ours, "req/s", i, ours)
			r.Add("throughput", CaseSteady, "stop and start", "req/s", i, 100)
		}
		return r
	}
	if got := worse(Compare(run(100), run(50))); len(got) != 1 {
		t.Errorf("half as many: flagged %q", got)
	}
	if got := worse(Compare(run(50), run(100))); len(got) != 0 {
		t.Errorf("twice as many: flagged %q", got)
	}
}

func TestTheVerdictsTellMetFromMissed(t *testing.T) {
	t.Parallel()
	r := runWith(0, 30, 31, 29)
	r.Add("first_answer", CaseIdle, Ours, "ms", 0, 5)
	r.Add("first_answer", CaseIdle, "tableflip", "ms", 0, 4)
	r.Losses[0].Reconnects = 2
	got := map[string]Verdict{}
	for _, v := range r.Verdicts() {
		got[v.Target] = v
	}
	for target, want := range map[string]Verdict{
		"failures 0 in every shape":                         {Met: true},
		"forced reconnects 0 in every plain HTTP/1.1 shape": {Met: false},
		"signal → first answer ≤ 1.0 × tableflip's":         {Met: false},
		"old process gone ≤ 50 ms after commit, idle":       {Met: true},
		"p99.9 around upgrades ≤ 1.25 × steady state":       {Missing: true},
	} {
		v, ok := got[target]
		if !ok || v.Missing != want.Missing || !v.Missing && v.Met != want.Met {
			t.Errorf("%s: %+v", target, v)
		}
	}
}

func TestARunIsReadAsItWasSaved(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "run.json")
	r := runWith(3, 1, 2, 3)
	if err := r.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.Losses[0].Failed != 3 || len(got.Series) != 1 || got.Series[0].Samples[2].Value != 3 {
		t.Errorf("got %+v", got)
	}
	os.WriteFile(path, []byte("{"), 0o600)
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a broken file: %v", err)
	}
}
