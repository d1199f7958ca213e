package doctor

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// command is one of ExecStart= or ExecReload=.
type command struct {
	path string
	args string // with the program's name; systemd joins them by spaces
}

var commandPattern = regexp.MustCompile(`(?s)^\{ path=(.*?) ; argv\[\]=(.*) ; ignore_errors=`)

// parseCommand reads the text that systemctl show prints for a command.
func parseCommand(text string) command {
	m := commandPattern.FindStringSubmatch(text)
	if m == nil {
		return command{}
	}
	return command{m[1], m[2]}
}

// forever is the time that systemd calls infinity.
const forever = time.Duration(math.MaxInt64)

// In systemd a month is a twelfth, a year 365.25 days: systemd.time(7).
var spanUnits = map[string]time.Duration{
	"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "min": time.Minute, "h": time.Hour,
	"d": 24 * time.Hour, "w": 7 * 24 * time.Hour, "month": 2629800 * time.Second, "y": 31557600 * time.Second,
}

// parseSpan reads a time as systemctl show prints it, such as "1min 30s".
func parseSpan(text string) (time.Duration, bool) {
	if text == "infinity" {
		return forever, true
	}
	if text == "0" {
		return 0, true
	}
	var sum time.Duration
	for _, word := range strings.Fields(text) {
		number := word[:len(word)-len(strings.TrimLeft(word, "0123456789."))]
		n, err := strconv.ParseFloat(number, 64)
		unit, ok := spanUnits[word[len(number):]]
		if number == word { // as a unit file may have it
			unit, ok = time.Second, true
		}
		if err != nil || !ok {
			return 0, false
		}
		if n*float64(unit) > float64(forever-sum) {
			return forever, true
		}
		sum += time.Duration(n * float64(unit))
	}
	return sum, text != ""
}

// span writes a time as a unit file has it.
func span(d time.Duration) string {
	switch {
	case d == forever:
		return "infinity"
	case d%time.Second != 0:
		return d.Round(time.Millisecond).String()
	}
	return strconv.FormatInt(int64(d/time.Second), 10) + "s"
}

// written returns the settings of [Service] in the texts of a unit's files, in
// order: the last one counts.
func written(files ...string) map[string]string {
	settings := map[string]string{}
	for _, text := range files {
		section := ""
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			switch name, value, found := strings.Cut(line, "="); {
			case line == "" || line[0] == '#' || line[0] == ';':
			case line[0] == '[':
				section = line
			case found && section == "[Service]":
				settings[strings.TrimSpace(name)] = strings.TrimSpace(value)
			}
		}
	}
	return settings
}
