package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/control"
	"github.com/handoff-dev/handoff/internal/doctor"
	"github.com/handoff-dev/handoff/internal/systemctl"
	"github.com/handoff-dev/handoff/internal/terminal"
)

// exitTimedOut is the exit code of an upgrade that took too long.
const exitTimedOut = 4

type upgradeOptions struct {
	service serviceFlags
	wait    bool
	timeout time.Duration
	json    bool
	check   bool
}

func newUpgrade() *cobra.Command {
	var opt upgradeOptions
	cmd := &cobra.Command{
		Use:   "upgrade [flags]",
		Short: "Upgrade a running service, and tell how it went",
		Long: `Upgrade a running service, and tell how it went.

The service starts the file that lies in its program's place now, and hands over to
it. The command waits until that is done or has failed, and shows each phase on a
terminal. It is made for deploy scripts and for ExecReload= in a systemd unit:

  ExecReload=/usr/bin/handoff upgrade --wait --pid $MAINPID

` + serviceHelp + `

An upgrade starts what runs. If the unit's ExecStart= names another path or other
arguments by now, a warning says so.

A service without a control socket gets SIGHUP, and is watched from outside: what can't
be known about it is said.

--check upgrades nothing: the service only runs its check command (Options.Preflight)
on the new file.

Exit codes: 0 the new generation serves (--check: all is well), 1 the upgrade failed
and the old generation still serves, 2 called wrongly, 3 there is no such service, 4
it took longer than --timeout: the upgrade was given up or, where the message says
so, its outcome is unknown.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runUpgrade(cmd, opt, args, systemctl.Machine)
		},
	}
	opt.service.add(cmd)
	f := cmd.Flags()
	f.BoolVar(&opt.wait, "wait", true, "wait until the upgrade is done or has failed; --wait=false only begins it")
	f.DurationVar(&opt.timeout, "timeout", 0, "give the upgrade up after this time (default: as the service has it)")
	f.BoolVar(&opt.json, "json", false, "print the outcome as JSON")
	f.BoolVar(&opt.check, "check", false, "only check the new version")
	return cmd
}

func runUpgrade(cmd *cobra.Command, opt upgradeOptions, args []string, run systemctl.Run) error {
	switch err := opt.service.check(args); {
	case err != nil:
		return err
	case opt.timeout < 0:
		return usagef("--timeout is %v: must not be negative", opt.timeout)
	case opt.check && !opt.wait:
		return usagef("--check can't be had without waiting")
	}
	ctx := cmd.Context()
	s, err := opt.service.find(ctx, run)
	if err != nil {
		return err
	}
	show := newPhases(cmd.OutOrStdout(), opt.json)
	var a handoff.UpgradeAnswer
	switch {
	case s.socket != "":
		a, err = bySocket(ctx, opt, s, show)
	case opt.check:
		return fmt.Errorf("%v has no control socket, so its check command is unknown", s)
	default:
		a, err = bySignal(ctx, opt, s, run, show)
	}
	show.end()
	if err != nil {
		return err
	}
	if a.Outcome == "failed" && a.Output == "" && a.Upgrade != nil {
		a.Output = journalOf(ctx, s, *a.Upgrade)
	}
	if err := tellOutcome(cmd, opt, a); err != nil {
		return err
	}
	if opt.service.user {
		run = ofUser(run)
	}
	warnOfCommand(ctx, cmd.ErrOrStderr(), s, a, doctor.System{Systemctl: run, Root: "/"})
	return nil
}

// errBegun ends the wait for an upgrade that nobody wants to wait for.
var errBegun = errors.New("the upgrade has begun")

func bySocket(ctx context.Context, opt upgradeOptions, s service, show *phases) (handoff.UpgradeAnswer, error) {
	client := newClientOf(s)
	before, err := client.status(ctx)
	if err != nil {
		return handoff.UpgradeAnswer{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if opt.timeout > 0 {
		// The service itself gives up in time. This is for one that doesn't answer.
		late := time.AfterFunc(opt.timeout+5*time.Second, func() { cancel(errNoAnswer) })
		defer late.Stop()
	}
	order := control.UpgradeRequest{Check: opt.check, TimeoutMS: opt.timeout.Milliseconds()}
	if opt.timeout > 0 && order.TimeoutMS == 0 {
		order.TimeoutMS = 1
	}
	progress := func(e handoff.Event) {
		show.event(e)
		if !opt.wait {
			cancel(errBegun)
		}
	}
	a, err := client.upgrade(ctx, order, progress)
	for try := 0; err == nil && a.Code == "handed_over" && try < 50; try++ {
		a, err = client.upgrade(ctx, order, progress) // of a generation that was just leaving
	}
	switch cause := context.Cause(ctx); {
	case err == nil:
		return a, nil
	case errors.Is(cause, context.Canceled):
		return a, errors.New("interrupted: the upgrade goes on in the service")
	case errors.Is(cause, errBegun):
		return handoff.UpgradeAnswer{Schema: handoff.StatusSchema, Type: "result", Outcome: "begun", Generation: before.Generation, PID: before.PID}, nil
	case errors.Is(cause, errNoAnswer):
		return a, codeError{errNoAnswer, exitTimedOut}
	case errors.Is(err, errLost) && !opt.check:
		return reconstruct(ctx, client, before, err)
	}
	return a, err
}

var errNoAnswer = errors.New("the service does not answer: whether it upgrades is not known")

// reconstruct finds out how an upgrade has ended of which the connection was lost: the
// old generation was killed, most often.
func reconstruct(ctx context.Context, client *controlClient, before handoff.ServiceStatus, lost error) (a handoff.UpgradeAnswer, err error) {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		now, serr := client.status(ctx)
		if serr == nil && now.PID != before.PID {
			a = handoff.UpgradeAnswer{Schema: handoff.StatusSchema, Type: "result", Outcome: "committed", Generation: now.Generation, PID: now.PID, Message: lost.Error()}
			if now.Generation <= before.Generation {
				return a, fmt.Errorf("%w; the service was started anew, as generation %d (pid %d)", lost, now.Generation, now.PID)
			}
			return a, nil
		}
		select {
		case <-ctx.Done():
			return a, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return a, lost
}

// tellOutcome prints how it went, and returns the error with the exit code.
func tellOutcome(cmd *cobra.Command, opt upgradeOptions, a handoff.UpgradeAnswer) error {
	out := cmd.OutOrStdout()
	if opt.json {
		if err := printJSON(out, a, true); err != nil {
			return err
		}
	}
	say := func(format string, args ...any) error {
		if opt.json {
			return nil
		}
		_, err := fmt.Fprintf(out, format+"\n", args...)
		return err
	}
	switch a.Outcome {
	case "committed":
		took := ""
		if a.Upgrade != nil && a.Upgrade.Seconds > 0 {
			took = " in " + seconds(a.Upgrade.Seconds)
		}
		if a.Generation == 0 {
			return say("upgraded to process %d", a.PID)
		}
		return say("upgraded to generation %d (pid %d)%s", a.Generation, a.PID, took)
	case "checked":
		return say("the new version passes the service's check")
	case "begun":
		return say("the upgrade has begun")
	}
	code := exitFailed
	if a.Outcome == "timed_out" {
		code = exitTimedOut
	}
	text := strings.TrimPrefix(a.Message, "handoff: ")
	if a.Output != "" {
		text += "\n" + indented(a.Output)
	}
	return codeError{fmt.Errorf("%s%s", text, stillServing(opt, a)), code}
}

// stillServing is a hint on what has not changed.
func stillServing(opt upgradeOptions, a handoff.UpgradeAnswer) string {
	if opt.check || a.PID == 0 || a.Code == "stopping" {
		return ""
	}
	if a.Generation == 0 {
		return fmt.Sprintf("\nprocess %d still serves", a.PID)
	}
	return fmt.Sprintf("\ngeneration %d (pid %d) still serves", a.Generation, a.PID)
}

// indented marks a text as somebody else's.
func indented(text string) string {
	var out strings.Builder
	for line := range strings.Lines(terminal.Text(text)) {
		out.WriteString("  | " + strings.TrimRight(line, "\n") + "\n")
	}
	return strings.TrimRight(out.String(), "\n")
}

func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d < 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}
