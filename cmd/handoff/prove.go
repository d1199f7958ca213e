package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/handoff-dev/handoff/internal/prove"
)

// exitUnproven: neither proven nor refuted.
const exitUnproven = 3

// proveOptions are the flags that prove.Options has no field for.
type proveOptions struct {
	prove.Options
	status     string
	headers    []string
	insecure   bool
	cacert     string
	serverName string
	out        []string
	json       bool
}

func newProve() *cobra.Command {
	var opt proveOptions
	cmd := &cobra.Command{
		Use:   "prove --url URL [--upgrade 'CMD']",
		Short: "Upgrade a running service under load, and report each lost request",
		Long: `Upgrade a running service under load, and report each lost request.

Any service, and whatever upgrades it: prove puts a little counted load on URL,
runs CMD again and again (systemctl reload app, kill -HUP …), and tells each
failed request by its kind, with the time since the upgrade had begun and with
what such a loss means. No request is ever sent twice. Without --upgrade it
watches for --duration, and you upgrade: press Enter when you begin.

URL begins with http://, https://, h2://, h2c:// (HTTP/2), ws://, wss://
(WebSocket), grpc://, grpcs:// (health checks; a path is the service) or is
unix:/socket:/path. Requests are GETs, and POSTs for the shape slow-post; any
whole answer with an accepted status is right. With --echo all are POSTs, whose
numbered bodies have to come back byte for byte. CMD runs by sh -c; what it
leaves running is left alone, but it is killed with its process group at
--upgrade-timeout and at Ctrl-C, after which the report so far is given.

Shapes of load, for --shape NAME or --shape NAME=/path:
` + prove.ShapeHelp() + `
Exit codes: 0 no request failed, 1 requests failed, 2 called wrongly, 3 nothing
failed, but an upgrade did, or the service couldn't be reached at the start, or
the proof was interrupted.`,
		Example: `  handoff prove --url http://127.0.0.1:8080/ --upgrade 'systemctl reload app' --out report.html
  handoff prove --url https://app.example/health --duration 10m --expect-change X-Pid`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := opt.prepare(); err != nil {
				return err
			}
			return runProve(cmd, &opt)
		},
	}
	opt.addFlags(cmd)
	return cmd
}

func (o *proveOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.URL, "url", "", "the service")
	f.StringVar(&o.Upgrade, "upgrade", "", "the `command` that upgrades it")
	f.IntVar(&o.Count, "count", 0, "how many upgrades (default 5 with --upgrade, else no limit)")
	f.DurationVar(&o.Pause, "pause", 0, "between two upgrades (default 5s)")
	f.DurationVar(&o.UpgradeTimeout, "upgrade-timeout", 0, "the longest that an upgrade may take (default 1m)")
	f.StringVar(&o.ExpectChange, "expect-change", "", "a `header` of answers, such as X-Pid, that has to have a new value after each upgrade")
	f.DurationVar(&o.Duration, "duration", 0, "how long to watch without --upgrade (default 10m)")
	f.StringSliceVar(&o.Shapes, "shape", nil, "`NAME` or NAME=/path, several by commas (default: the usual ones that the service takes)")
	f.Float64Var(&o.Rate, "rate", 50, "requests a second of all shapes together, at most")
	f.IntVar(&o.Connections, "connections", 4, "connections of each shape")
	f.DurationVar(&o.Timeout, "timeout", 0, "of a request (default 10s)")
	f.DurationVar(&o.Window, "window", 0, "how long after an upgrade a request counts as near it (default 1s)")
	f.StringVar(&o.status, "status", "200-399", "the statuses that are right, such as 200,301-399")
	f.BoolVar(&o.Echo, "echo", false, "the service echoes POSTs: compare the bodies")
	f.StringArrayVar(&o.headers, "header", nil, "a header of requests, `'Name: value'`; can be repeated")
	f.BoolVar(&o.insecure, "insecure", false, "take any certificate")
	f.StringVar(&o.cacert, "cacert", "", "trust the certificates in `file` (PEM) alone")
	f.StringVar(&o.serverName, "server-name", "", "the `name` that the certificate has to be for")
	f.StringArrayVar(&o.out, "out", nil, "write the report to `file`: .html, .svg (the chart alone), .json or .xml (JUnit); can be repeated")
	f.BoolVar(&o.json, "json", false, "print the report as JSON")
}

func runProve(cmd *cobra.Command, opt *proveOptions) error {
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	signal.Ignore(syscall.SIGPIPE)
	progress := newProgress(cmd.ErrOrStderr(), stop)
	opt.Say = func(line string) { progress.line("%s", line) }
	if opt.Upgrade == "" {
		opt.Manual = enters(ctx, cmd.InOrStdin())
		if isTerminalReader(cmd.InOrStdin()) {
			progress.line("press Enter when you begin an upgrade, Ctrl-C for the report")
		}
	}
	rep, err := prove.Run(ctx, opt.Options)
	if errors.Is(err, prove.ErrOption) {
		return usageError{err}
	} else if err != nil {
		return err
	}
	write := rep.WriteText
	if opt.json {
		write = rep.WriteJSON
	}
	if err := write(cmd.OutOrStdout()); err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	for _, name := range opt.out {
		if err := writeReport(rep, name); err != nil {
			return err
		}
		progress.line("wrote %s", name)
	}
	switch rep.Verdict {
	case prove.Proven, prove.NoUpgrade:
		return nil
	case prove.Failed:
		return codeError{code: exitFailed}
	}
	return codeError{code: exitUnproven}
}

func writeReport(rep *prove.Report, name string) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b := bufio.NewWriter(f)
	if err := reportWriters[filepath.Ext(name)](rep, b); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return b.Flush()
}

var reportWriters = map[string]func(*prove.Report, io.Writer) error{
	".html": (*prove.Report).WriteHTML,
	".svg":  (*prove.Report).WriteSVG,
	".json": (*prove.Report).WriteJSON,
	".xml":  (*prove.Report).WriteJUnit,
}

// enters sends at each line of r.
func enters(ctx context.Context, r io.Reader) <-chan struct{} {
	lines := make(chan struct{})
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			select {
			case lines <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return lines
}

func isTerminalReader(r io.Reader) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && !strings.HasSuffix(f.Name(), "null")
}
