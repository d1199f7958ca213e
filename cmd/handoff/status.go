package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/handoff-dev/handoff/internal/systemctl"
	"github.com/handoff-dev/handoff/internal/terminal"
)

type statusOptions struct {
	service serviceFlags
	watch   bool
	json    bool
}

func newStatus() *cobra.Command {
	var opt statusOptions
	cmd := &cobra.Command{
		Use:   "status [flags]",
		Short: "Show what a running service does",
		Long: `Show what a running service does: its generation, its listeners with their connections,
older generations and what they wait for, and the last upgrades.

` + serviceHelp + `

--watch shows it live, until q is pressed. With --json it prints a line for each second
in place of that.

Exit codes: 0 all went well, 1 something failed, 2 called wrongly, 3 there is no such
service, or it has no control socket.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runStatus(cmd, opt, args, systemctl.Machine)
		},
	}
	opt.service.add(cmd)
	cmd.Flags().BoolVar(&opt.watch, "watch", false, "show it live")
	cmd.Flags().BoolVar(&opt.json, "json", false, "print it as JSON")
	return cmd
}

// refresh is how often --watch asks.
const refresh = time.Second

func runStatus(cmd *cobra.Command, opt statusOptions, args []string, run systemctl.Run) error {
	if err := opt.service.check(args); err != nil {
		return err
	}
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	s, err := opt.service.find(ctx, run)
	if err != nil {
		return err
	}
	if s.socket == "" {
		return noService(fmt.Errorf("%v has no control socket", s), "Options.Control of package handoff gives it one; `handoff doctor` examines a unit without")
	}
	client := newClientOf(s)
	if opt.watch && !opt.json {
		if !isTerminal(out) {
			return usagef("--watch wants a terminal; --watch --json prints a line each second")
		}
		return watchStatus(ctx, client, cmd.InOrStdin(), out)
	}
	for {
		st, err := client.status(ctx)
		if err != nil {
			return err
		}
		switch {
		case opt.json:
			err = printJSON(out, st, !opt.watch)
		default:
			_, err = io.WriteString(out, statusText(st, time.Now()))
		}
		if err != nil || !opt.watch {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(refresh):
		}
	}
}

// printJSON prints the same value on every terminal, whatever its strings have in them.
func printJSON(out io.Writer, v any, pretty bool) error {
	return terminal.WriteJSON(out, v, pretty)
}
