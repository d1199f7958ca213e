package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/handoff-dev/handoff/internal/inspect"
	"github.com/handoff-dev/handoff/internal/terminal"
)

// executableStates say what a state of the file means for an upgrade.
var executableStates = map[string]string{
	"":         "",
	"replaced": ", replaced since: an upgrade starts the new file",
	"deleted":  ", deleted since",
	"unknown":  ", which can't be looked at",
}

func printProcess(out io.Writer, p *inspect.Process, all bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "process %d (%s), child of %d (%s)\n", p.PID, terminal.Line(p.Name), p.Parent, terminal.Line(p.ParentName))
	if p.Unit != "" {
		fmt.Fprintf(&b, "unit: %s\n", terminal.Line(p.Unit))
	}
	built := ""
	if p.Handoff {
		built = ", built with handoff"
	}
	fmt.Fprintf(&b, "executable: %s%s%s\n", terminal.Line(p.Executable), built, executableStates[p.ExecutableState])
	for _, key := range slices.Sorted(maps.Keys(p.Environment)) {
		note := ""
		if key == "LISTEN_PID" && !p.Meant {
			note = " (another process)"
		}
		fmt.Fprintf(&b, "started with %s=%s%s\n", terminal.Line(key), strings.Trim(strconv.Quote(p.Environment[key]), `"`), note)
	}
	b.WriteByte('\n')
	printDescriptors(&b, p, all)
	printOthers(&b, p)
	_, err := io.WriteString(out, b.String())
	return err
}

func printDescriptors(b *strings.Builder, p *inspect.Process, all bool) {
	hidden := map[string]int{}
	shown := 0
	w := table(b, "FD", "NAME", "KIND", "ADDRESS", "PEER", "STATE", "FLAGS", "SHARED WITH")
	for _, d := range p.Descriptors {
		if !all && !d.Listens() {
			what := "other file"
			if d.Inode != "" {
				what = "other socket"
			}
			if d.State == "connected" {
				what = "connection"
			}
			hidden[what]++
			continue
		}
		shown++
		state := d.State
		if d.Waiting > 0 {
			state += fmt.Sprintf(" (%d wait)", d.Waiting)
		}
		var shared []string
		for _, pid := range d.Shared {
			shared = append(shared, strconv.Itoa(pid))
		}
		row(w, strconv.Itoa(d.FD), d.Name, d.Kind, d.Address, d.Peer, state, strings.Join(d.Flags, ","), strings.Join(shared, ","))
	}
	if shown > 0 {
		w.Flush()
	} else {
		b.WriteString("it has no socket that clients come by\n")
	}
	var rest []string
	for _, what := range slices.Sorted(maps.Keys(hidden)) {
		plural := ""
		if hidden[what] != 1 {
			plural = "s"
		}
		rest = append(rest, fmt.Sprintf("%d %s%s", hidden[what], what, plural))
	}
	if len(rest) > 0 {
		fmt.Fprintf(b, "not shown without --all: %s\n", strings.Join(rest, ", "))
	}
}

func printOthers(b *strings.Builder, p *inspect.Process) {
	if len(p.Others) > 0 {
		b.WriteString("\nprocesses with the same sockets, or of the same service, the oldest first:\n")
		w := table(b, "PID", "PROGRAM", "IS ITS", "SOCKETS")
		for _, o := range p.Others {
			row(w, strconv.Itoa(o.PID), o.Name, string(o.Relation), strconv.Itoa(o.Shared))
		}
		w.Flush()
	}
	if p.Unseen > 0 {
		fmt.Fprintf(b, "\n%d processes of others could not be looked at; as root they can\n", p.Unseen)
	}
}
