package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/handoff-dev/handoff/internal/doctor"
	"github.com/handoff-dev/handoff/internal/systemctl"
	"github.com/handoff-dev/handoff/internal/terminal"
)

// exitNoUnit is the exit code of "handoff doctor" when it could not examine.
const exitNoUnit = 3

// doctorOptions are the flags of "handoff doctor".
type doctorOptions struct {
	json  bool
	user  bool
	drain time.Duration
}

// examined is a unit with what was found.
type examined struct {
	Unit     string           `json:"unit"`
	Systemd  int              `json:"systemd"`
	MainPID  int              `json:"mainPid"` // 0: it doesn't run
	Findings []doctor.Finding `json:"findings"`
}

func newDoctor() *cobra.Command {
	var opt doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor [UNIT]...",
		Short: "Say what in a systemd service will break an upgrade",
		Long: `Say what in a systemd service will break an upgrade.

It reads the unit as systemd sees it, and the main process if there is one, and
prints a line for each finding, with what to do about it below. Without a UNIT it
examines all services that run and whose program is built with handoff. As root
it sees more.

Exit codes: 0 there are no errors and no warnings (but maybe notes), 1 there are,
2 called wrongly, 3 a unit could not be examined: there is no such one, or no
systemd.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runDoctor(cmd, opt, args, doctor.System{Systemctl: systemctl.Machine, Root: "/"})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&opt.json, "json", false, "print the findings as JSON")
	f.BoolVar(&opt.user, "user", false, "ask the user's own systemd")
	f.DurationVar(&opt.drain, "drain", 30*time.Second, "how long the program lets connections end")
	return cmd
}

func runDoctor(cmd *cobra.Command, opt doctorOptions, names []string, system doctor.System) error {
	if opt.drain <= 0 {
		return usagef("--drain is %v: want more than 0", opt.drain)
	}
	units, err := serviceNames(names)
	if err != nil {
		return err
	}
	if opt.user {
		run := system.Systemctl
		system.Systemctl = func(ctx context.Context, args ...string) (string, error) {
			return run(ctx, append([]string{"--user"}, args...)...)
		}
	}
	all, err := examineAll(cmd.Context(), opt, units, system)
	if err != nil {
		return notExamined(err)
	}
	if err := printFindings(cmd.OutOrStdout(), opt.json, all); err != nil {
		return fmt.Errorf("print the findings: %w", err)
	}
	for _, e := range all {
		if slices.ContainsFunc(e.Findings, func(f doctor.Finding) bool { return f.Severity != doctor.Note }) {
			return codeError{nil, exitFailed}
		}
	}
	return nil
}

// serviceNames completes the names as systemctl does.
func serviceNames(names []string) ([]string, error) {
	var units []string
	for _, name := range names {
		switch suffix := path.Ext(name); {
		case name == "" || strings.Contains(name, "/"):
			return nil, usagef("%q is no unit's name", name)
		case slices.Contains([]string{".socket", ".target", ".timer", ".path", ".slice", ".scope", ".mount", ".automount", ".swap", ".device"}, suffix):
			return nil, usagef("%s is no service: name the service, and its sockets are examined with it", name)
		case suffix != ".service":
			name += ".service"
		}
		if strings.Contains(name, "@.") {
			return nil, usagef("%s is a template: name an instance of it, such as %s", name, strings.Replace(name, "@.", "@1.", 1))
		}
		if !slices.Contains(units, name) {
			units = append(units, name)
		}
	}
	return units, nil
}

var errNothingRuns = errors.New("no service that runs is built with handoff")

// examineAll reads all units before it says anything about one.
func examineAll(ctx context.Context, opt doctorOptions, units []string, system doctor.System) ([]examined, error) {
	version, err := systemctl.Version(ctx, system.Systemctl)
	if err != nil {
		return nil, err
	}
	if len(units) == 0 {
		if units, err = system.Services(ctx); err != nil {
			return nil, err
		}
		if len(units) == 0 {
			return nil, errNothingRuns
		}
	}
	var all []examined
	for _, unit := range units {
		facts, err := system.Read(ctx, unit)
		if err != nil {
			return nil, err
		}
		facts.Systemd, facts.UserManager, facts.Drain = version, opt.user, opt.drain
		e := examined{Unit: facts.Unit, Systemd: version, Findings: doctor.Examine(facts)}
		if facts.Process != nil {
			e.MainPID = facts.Process.PID
		}
		if e.Findings == nil {
			e.Findings = []doctor.Finding{} // [] and not null in JSON
		}
		all = append(all, e)
	}
	return all, nil
}

func notExamined(err error) error {
	switch {
	case errors.Is(err, systemctl.ErrNotFound):
		err = withHint(err, "doctor examines services of systemd; run it on the machine that runs the service")
	case errors.Is(err, doctor.ErrNoUnit):
		err = withHint(err, "systemctl list-units --all --type=service shows what there is; units of a user want --user")
	case errors.Is(err, errNothingRuns):
		err = withHint(err, "name a unit; as root doctor sees the programs of all services")
	}
	return codeError{err, exitNoUnit}
}

func printFindings(out io.Writer, asJSON bool, all []examined) error {
	if asJSON {
		return printJSON(out, all, true)
	}
	var text strings.Builder
	for _, e := range all {
		if len(e.Findings) == 0 {
			fmt.Fprintf(&text, "%s: nothing found\n", e.Unit)
		}
		for _, f := range e.Findings {
			fmt.Fprintf(&text, "%s: %s: %s [%s]\n    %s\n", e.Unit, f.Severity, terminal.Line(f.What), f.ID, terminal.Line(f.Mend))
		}
	}
	_, err := io.WriteString(out, text.String())
	return err
}
