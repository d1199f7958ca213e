package main

import (
	"fmt"
	"io"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/terminal"
)

// phases shows the phases of an upgrade on a terminal, each in a line that is ended
// when the phase is. Elsewhere it shows nothing: there the outcome counts.
type phases struct {
	w       io.Writer // nil: nobody is shown anything
	current string
	began   time.Time
}

func newPhases(w io.Writer, silent bool) *phases {
	if silent || !isTerminal(w) {
		return &phases{}
	}
	return &phases{w: bare(w)}
}

// phaseTexts say what happens in a phase.
var phaseTexts = map[string]string{
	"preflight": "checking the new version",
	"start":     "starting it",
	"ready":     "waiting until it is ready",
	"probation": "probation: it serves, and is watched",
	"state":     "handing over the last state",
	"commit":    "handing over",
	"rollback":  "rolling back",
}

func (p *phases) event(e handoff.Event) {
	if p.w == nil {
		return
	}
	switch e.Type {
	case "step":
		p.endAt(e.Time)
		text := phaseTexts[e.Step]
		if text == "" {
			text = terminal.Line(e.Step)
		}
		if e.Successor != 0 && e.Step == "ready" {
			text += fmt.Sprintf(" (pid %d)", e.Successor)
		}
		p.current, p.began = text, e.Time
		fmt.Fprintf(p.w, "  %-44s …", text)
	case "committed", "failed":
		p.endAt(e.Time)
	}
}

// end ends the line of the phase that is shown.
func (p *phases) end() { p.endAt(time.Now()) }

func (p *phases) endAt(t time.Time) {
	if p.current == "" {
		return
	}
	fmt.Fprintf(p.w, "\r  %-44s %s\n", p.current, seconds(t.Sub(p.began).Seconds()))
	p.current = ""
}
