package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/terminal"
)

// statusText is the compact view for people.
func statusText(s handoff.ServiceStatus, now time.Time) string {
	var t strings.Builder
	for _, line := range statusLines(s, now, 5) {
		t.WriteString(line + "\n")
	}
	return t.String()
}

// statusLines returns the lines of the view, with so many of the last upgrades.
func statusLines(s handoff.ServiceStatus, now time.Time, upgrades int) (lines []string) {
	add := func(format string, args ...any) { lines = append(lines, terminal.Line(fmt.Sprintf(format, args...))) }
	version := s.Version
	if version == "" {
		version = "version unknown"
	}
	add("generation %d  %s  pid %d  %s  up %s", s.Generation, s.Phase, s.PID, version, age(s.Uptime))
	switch b := s.Binary; {
	case b.Fault != "":
		add("binary  %s: %s", b.Path, b.Fault)
	case b.Changed:
		add("binary  %s: the file on disk is another than the one that runs", b.Path)
	default:
		add("binary  %s: runs as it is on disk", b.Path)
	}
	for _, w := range s.Workers {
		if w.PID == 0 {
			add("copy %d  %s", w.Worker, w.Phase)
			continue
		}
		add("copy %d  generation %d  pid %d  %s", w.Worker, w.Generation, w.PID, w.Phase)
	}
	if n := s.Successor; n != nil {
		pid := ""
		if n.PID != 0 {
			pid = fmt.Sprintf("  pid %d", n.PID)
		}
		add("upgrade to generation %d%s: %s for %s", n.Generation, pid, n.Step, age(now.Sub(n.Since).Seconds()))
	}
	lines = append(lines, listenerLines(s)...)
	for _, d := range s.Draining {
		add("%s", drainingLine(d, now))
	}
	past := s.Upgrades[max(0, len(s.Upgrades)-upgrades):]
	if len(past) > 0 {
		if lines[len(lines)-1] != "" {
			lines = append(lines, "")
		}
		lines = append(lines, "last upgrades")
	}
	for _, u := range slices.Backward(past) {
		add("%s", upgradeLine(u, now))
	}
	return lines
}

func listenerLines(s handoff.ServiceStatus) (lines []string) {
	if len(s.Listeners) == 0 {
		return nil
	}
	rows := [][]string{{"listener", "address", "open", "accepted", "moved in"}}
	for _, l := range s.Listeners {
		open := "-"
		if l.Open != nil {
			open = fmt.Sprint(*l.Open)
		}
		accepted, moved := fmt.Sprint(l.Accepted), fmt.Sprint(l.Moved)
		if strings.HasPrefix(l.Network, "udp") || l.Network == "unixgram" {
			accepted, moved = "-", "-"
		}
		rows = append(rows, []string{terminal.Line(l.Name), terminal.Line(l.Network + " " + l.Address), open, accepted, moved})
	}
	width := make([]int, 5)
	for _, r := range rows {
		for i, cell := range r {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	lines = append(lines, "")
	for _, r := range rows {
		lines = append(lines, strings.TrimRight(fmt.Sprintf("%-*s  %-*s  %*s  %*s  %*s",
			width[0], r[0], width[1], r[1], width[2], r[2], width[3], r[3], width[4], r[4]), " "))
	}
	return append(lines, "")
}

func drainingLine(d handoff.DrainingStatus, now time.Time) string {
	text := fmt.Sprintf("generation %d drains  pid %d  %s", d.Generation, d.PID, plural(d.Connections, "connection"))
	var at []string
	for _, l := range d.Listeners {
		at = append(at, fmt.Sprintf("%s %d", l.Name, l.Open))
	}
	if len(at) > 0 {
		text += " (" + strings.Join(at, ", ") + ")"
	}
	if !d.Deadline.IsZero() {
		if left := d.Deadline.Sub(now); left > 0 {
			text += ", cut in " + age(left.Seconds())
		}
	}
	if d.Hurried {
		text += ", told to hurry"
	}
	return text
}

func upgradeLine(u handoff.UpgradeRecord, now time.Time) string {
	when := age(now.Sub(u.Began).Seconds()) + " ago"
	if u.Outcome != "committed" {
		in := ""
		if u.FailedIn != "" {
			in = " (" + u.FailedIn + ")"
		}
		return fmt.Sprintf("  %d to %d  failed%s, %s: %s", u.From, u.To, in, when, strings.Join(strings.Fields(u.Cause), " "))
	}
	var parts []string
	for _, p := range u.Phases {
		parts = append(parts, p.Name+" "+seconds(p.Seconds))
	}
	return fmt.Sprintf("  %d to %d  %s in %s, %s: %s", u.From, u.To, u.Outcome, seconds(u.Seconds), when, strings.Join(parts, ", "))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// age is a time in the one or two units that matter.
func age(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}
