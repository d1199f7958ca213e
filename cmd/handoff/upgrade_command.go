package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/doctor"
	"github.com/handoff-dev/handoff/internal/systemctl"
	"github.com/handoff-dev/handoff/internal/terminal"
)

// commandWait is how long systemd has to answer what ExecStart= is.
const commandWait = 5 * time.Second

// warnOfCommand says after an upgrade if what was started is not what the unit's
// ExecStart= names by now: an upgrade starts what runs.
func warnOfCommand(ctx context.Context, out io.Writer, s service, a handoff.UpgradeAnswer, system doctor.System) {
	if s.unit == "" {
		s.unit = unitOf(a.PID)
	}
	if a.Outcome != "committed" || s.unit == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, commandWait)
	defer cancel()
	p, err := systemctl.Show(ctx, system.Systemctl, s.unit, doctor.CommandProperties...)
	if err != nil {
		return // the upgrade is done, and that is what was asked for
	}
	pid, _ := strconv.Atoi(p.Get("MainPID"))
	if changed := system.ChangedCommand(p, pid); changed != "" {
		fmt.Fprintf(out, "warning: ExecStart= of %s has changed, and an upgrade starts what runs: %s; restart the service once, or install the new version at the path that runs\n",
			terminal.Line(s.unit), terminal.Line(changed))
	}
}
