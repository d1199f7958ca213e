//go:build !small

package main

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// demoOptions are the demo's flags.
type demoOptions struct {
	seconds  float64
	workers  int // of each shape of load
	upgrades int
	json     bool
	lose     int // the server loses each n-th request: for the tests
}

func newDemo() *cobra.Command { return newDemoFor(new(demoOptions)) }

func newDemoFor(opt *demoOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Upgrade a server under load, and count what is lost",
		Long: `Upgrade a server under load, and count what is lost.

The demo starts a small HTTP server, puts load on it, and replaces its binary
on disk and upgrades it by SIGHUP, again and again, from version 1 to version 2
and back. The load's requests are numbered POSTs of which none is ever sent
twice, from four kinds of clients at a time: with a new connection for each
request, with one connection kept busy, with one that is mostly idle, and with
bodies that come in two parts. In the end it says what was lost, and how long
requests took in quiet times and around the upgrades.

It listens on the loopback interface only, and leaves nothing behind. It exits
with 1 if a request or an upgrade failed. It runs on Unix only.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := opt.check(); err != nil {
				return err
			}
			return runDemo(cmd, *opt)
		},
	}
	f := cmd.Flags()
	f.Float64Var(&opt.seconds, "seconds", 20, "how long to put load on, and to spread the upgrades over")
	f.IntVar(&opt.workers, "workers", 4, "how many clients of each of the four kinds")
	f.IntVar(&opt.upgrades, "upgrades", 20, "how many upgrades")
	f.BoolVar(&opt.json, "json", false, "print the result as JSON, durations in nanoseconds")
	f.IntVar(&opt.lose, "lose", 0, "have the server lose each n-th request")
	f.MarkHidden("lose")
	return cmd
}

func (o demoOptions) check() error {
	switch {
	case !(o.seconds > 0 && o.seconds <= 3600):
		return usagef("--seconds is %v: want more than 0, and 3600 at most", o.seconds)
	case o.workers < 1 || o.workers > 100:
		return usagef("--workers is %d: want 1 to 100", o.workers)
	case o.upgrades < 0 || o.upgrades > 10000:
		return usagef("--upgrades is %d: want 0 to 10000", o.upgrades)
	case o.lose < 0:
		return usagef("--lose is %d: want 0 or more", o.lose)
	}
	return nil
}

// upgradesApart is how far apart upgrades are at least: a generation has to be
// through its probation before its own successor may come.
const upgradesApart = demoProbation + 250*time.Millisecond

func (o demoOptions) interval() time.Duration {
	all := time.Duration(o.seconds * float64(time.Second))
	return max(upgradesApart, all/time.Duration(o.upgrades+1))
}

func runDemo(cmd *cobra.Command, opt demoOptions) error {
	// A closed terminal, or reader of its output, ends the demo as Ctrl-C does:
	// only in its own time can it clean up. SIGPIPE is ignored and not caught:
	// caught, it would come for the lost connections of the load as well.
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	signal.Ignore(syscall.SIGPIPE)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGHUP)
		defer stop()
	}

	show := newProgress(cmd.ErrOrStderr(), stop)
	rep, err := demonstrate(ctx, opt, show)
	show.end()
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if opt.json {
		err = printJSON(out, rep, true)
	} else {
		err = rep.print(out)
	}
	if err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	return rep.verdict()
}
