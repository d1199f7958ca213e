package prove

import (
	"strconv"
	"strings"
	"time"
)

// number writes n with a comma after each three digits.
func number(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func milliseconds(d time.Duration) string {
	digits := 1
	if d < 10*time.Millisecond {
		digits = 2
	}
	return strconv.FormatFloat(d.Seconds()*1000, 'f', digits, 64) + " ms"
}

// ratio is how much longer around is than steady.
func ratio(around, steady time.Duration) string {
	if steady <= 0 || around <= 0 {
		return "–"
	}
	return strconv.FormatFloat(float64(around)/float64(steady), 'f', 1, 64) + "×"
}

// sentence begins with a capital and ends with a stop.
func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] + "." }
