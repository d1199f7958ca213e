package record

import (
	"fmt"
	"math"
	"slices"
)

// Summary is the middle of some measurements, and the quartiles around it.
type Summary struct {
	N                int
	Low, Median, Top float64 // the quartiles
}

// Summarize returns the median and the quartiles; of nothing it is NaN.
func Summarize(values []float64) Summary {
	sorted := slices.Sorted(slices.Values(values))
	return Summary{len(sorted), quantile(sorted, 0.25), quantile(sorted, 0.5), quantile(sorted, 0.75)}
}

// quantile interpolates between the two nearest of sorted values.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	part := at - float64(i)
	return sorted[i]*(1-part) + sorted[i+1]*part
}

// Spread is the distance of the quartiles.
func (s Summary) Spread() float64 { return s.Top - s.Low }

func (s Summary) String() string {
	switch {
	case s.N == 0:
		return "–"
	case s.N == 1:
		return number(s.Median)
	}
	return fmt.Sprintf("%s (%s–%s)", number(s.Median), number(s.Low), number(s.Top))
}

// number has three significant digits at least, and no more decimals than they need.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100 || a == 0:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// Ratio is a divided by b, for each round that has both: what is slow in one round
// is so for both.
func Ratio(a, b Series) Summary {
	byRound := map[int][]float64{}
	for _, m := range b.Samples {
		byRound[m.Round] = append(byRound[m.Round], m.Value)
	}
	var ratios []float64
	for _, m := range a.Samples {
		with := byRound[m.Round]
		if len(with) == 0 || with[0] == 0 {
			continue
		}
		ratios = append(ratios, m.Value/with[0])
		byRound[m.Round] = with[1:]
	}
	return Summarize(ratios)
}
