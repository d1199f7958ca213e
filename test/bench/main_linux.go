package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/handoff-dev/handoff/test/bench/record"
	"golang.org/x/sys/unix"
)

func main() {
	if os.Getenv(workerVariable) == "" {
		os.Exit(front())
	}
	os.Unsetenv(workerVariable)
	// The servers get what a service manager gives them, and nothing that the caller has
	// left open.
	_ = unix.CloseRange(3, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC)
	// Not Ignore, which the servers would inherit.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	switch err := command(untilEOF(os.Stdin), os.Args[1:], os.Stdout); {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		os.Exit(fail(err))
	}
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "bench:", err)
	return 1
}

const usage = `usage: run [--quick] [--out DIR] [--servers NAMES] [--parts NAMES]
       run compare OLD.json NEW.json     exit status 1 if something is worse
       run render RUN.json [DIR]         tables and charts of an earlier run
`

func command(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "compare":
			return compareRuns(args[1:], out)
		case "render":
			return renderRun(args[1:])
		}
	}
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(flags.Output(), usage); flags.PrintDefaults() }
	quick := flags.Bool("quick", false, "under 4 minutes, with more noise")
	dir := flags.String("out", "out", "`directory` for the results")
	servers := flags.String("servers", "", "only these, by `names` with commas between them")
	only := flags.String("parts", "", "only these `parts`: times, losses, latencies, steady, hundred")
	cases := flags.String("cases", "", "only these `cases` of the times, with semicolons between them: idle; 1,000 listeners; …")
	rounds := flags.Int("rounds", 0, "so many `rounds` of the times and latencies, and four times as many of the steady state")
	verbose := flags.Bool("v", false, "tell how long each turn takes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	b, err := newBench(ctx, *quick, out, split(*servers, ",")...)
	if err != nil {
		return err
	}
	defer b.close()
	b.verbose, b.cases = *verbose, split(*cases, ";")
	if *rounds > 0 {
		b.size.idleRounds, b.size.caseRounds, b.size.latencyRounds = *rounds, *rounds, *rounds
		b.size.steadyRounds = 4 * *rounds
		b.run.Method = method(*quick, b.size)
	}
	if err := b.measure(ctx, split(*only, ",")); err != nil {
		return err
	}
	if err := b.run.Write(*dir); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s after %s, load averages %s\n", filepath.Join(*dir, "run.md"), b.run.Took, strings.Join(b.run.Host.LoadAvgs, ", "))
	return nil
}

func split(list, separator string) (names []string) {
	for name := range strings.SplitSeq(list, separator) {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func compareRuns(args []string, out io.Writer) error {
	if len(args) != 2 {
		return errors.New("compare wants two files: an older run.json and a newer one")
	}
	before, err := record.Load(args[0])
	if err != nil {
		return err
	}
	after, err := record.Load(args[1])
	if err != nil {
		return err
	}
	worse := 0
	for _, c := range record.Compare(before, after) {
		fmt.Fprintln(out, c)
		if c.Worse {
			worse++
		}
	}
	if worse > 0 {
		return fmt.Errorf("%d figures are worse beyond the noise", worse)
	}
	return nil
}

func renderRun(args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return errors.New("render wants a run.json, and perhaps a directory")
	}
	r, err := record.Load(args[0])
	if err != nil {
		return err
	}
	dir := filepath.Dir(args[0])
	if len(args) == 2 {
		dir = args[1]
	}
	return r.Write(dir)
}
