package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/inspect"
)

// inspectOptions are the flags of "handoff inspect".
type inspectOptions struct {
	pid  string
	all  bool
	json bool
}

func newInspect() *cobra.Command {
	var opt inspectOptions
	cmd := &cobra.Command{
		Use:   "inspect",
		Short: "Show the sockets that this command, or another process, was given",
		Long: `Show the sockets that this command, or another process, was given.

In place of a server it shows what that would be given, and what is wrong with the
variables that say so (sd_listen_fds(3)):

  systemd-socket-activate -l 8080 handoff inspect
  handoff exec -l http=8080 -- handoff inspect

With --pid it shows what a process that runs holds and listens on, and which other
processes have the same sockets: on Linux, from /proc, without touching the process.
A predecessor and a successor are generations of one service; a holder gave the
sockets, as systemd does; a worker is a child that has them as it was forked. As
root it sees all processes.

Exit codes: 0 it was shown, be it that there is nothing, 1 the variables are wrong,
or the process can't be seen, 2 called wrongly.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runInspect(cmd, opt) },
	}
	f := cmd.Flags()
	f.StringVarP(&opt.pid, "pid", "p", "", "look at the process of this `PID`, or of the PID file at this path")
	f.BoolVar(&opt.all, "all", false, "with --pid, show connections and files too")
	f.BoolVar(&opt.json, "json", false, "print JSON")
	return cmd
}

func runInspect(cmd *cobra.Command, opt inspectOptions) error {
	if !cmd.Flags().Changed("pid") {
		if opt.all {
			return usagef("--all is for --pid")
		}
		return inspectSelf(cmd.OutOrStdout(), opt.json)
	}
	pid, err := pidOf(opt.pid)
	if err != nil {
		return err
	}
	p, err := inspect.Read(pid)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return withHint(fmt.Errorf("look at process %d: %w", pid, err), "it belongs to somebody else: ask as root, or as its user")
	case err != nil:
		return fmt.Errorf("look at process: %w", err)
	}
	if opt.json {
		return printJSON(cmd.OutOrStdout(), p, true)
	}
	return printProcess(cmd.OutOrStdout(), p, opt.all)
}

// pidOf reads a number, or a file with one.
func pidOf(text string) (int, error) {
	from := "--pid"
	if strings.Contains(text, "/") {
		f, err := os.Open(text)
		if err != nil {
			return 0, fmt.Errorf("read the PID file: %w", err)
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, 32))
		if err != nil {
			return 0, fmt.Errorf("read the PID file: %w", err)
		}
		from, text = text, strings.TrimSpace(string(data))
	}
	pid, err := strconv.Atoi(text)
	if err != nil || pid < 1 {
		return 0, usagef("%s says %q: want a process's number, or the path of a file with one", from, text)
	}
	return pid, nil
}

// passed is what this process was given.
type passed struct {
	PID         int               `json:"pid"`
	Environment map[string]string `json:"environment"`
	Sockets     []passedSocket    `json:"sockets"`
	Error       *environmentError `json:"error,omitempty"`
}

type passedSocket struct {
	Index   int      `json:"index"`
	FD      int      `json:"fd"`
	Name    string   `json:"name"`
	Kind    string   `json:"kind"`
	Address string   `json:"address,omitempty"`
	Peer    string   `json:"peer,omitempty"`
	State   string   `json:"state,omitempty"`
	Flags   []string `json:"flags"`
}

type environmentError struct {
	Variable string `json:"variable,omitempty"`
	Value    string `json:"value,omitempty"`
	Reason   string `json:"reason"`
}

// protocolVariables are those that say what was passed.
var protocolVariables = []string{"LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDS_FIRST_FD", "LISTEN_FDNAMES", "SYSTEMFD_SOCKET_SERVER"}

func inspectSelf(out io.Writer, asJSON bool) error {
	p := passed{PID: os.Getpid(), Environment: map[string]string{}, Sockets: []passedSocket{}}
	for _, key := range protocolVariables {
		if value, ok := os.LookupEnv(key); ok {
			p.Environment[key] = value
		}
	}
	set, err := handoff.Inherit(handoff.InheritOptions{})
	if err != nil {
		p.Error = &environmentError{Reason: err.Error()}
		var env *handoff.EnvError
		if errors.As(err, &env) {
			p.Error = &environmentError{env.Variable, env.Value, env.Reason}
		}
	} else {
		for e := range set.All() {
			p.Sockets = append(p.Sockets, describe(e))
		}
	}
	print := func() error { return printPassed(out, p) }
	if asJSON {
		print = func() error { return printJSON(out, p, true) }
	}
	return errors.Join(err, print())
}

// describe looks at what was passed and leaves it as it is.
func describe(e handoff.Entry) passedSocket {
	s := passedSocket{Index: e.Index, FD: e.FD, Name: e.Name, Kind: e.Kind.String(), Address: text(e.Addr), Peer: text(e.RemoteAddr), Flags: socketFlags(e.FD)}
	if e.Kind == handoff.KindSocket || e.Kind == handoff.KindOther {
		// Its own words say more: "vsock stream listener".
		s.Kind = strings.TrimPrefix(e.String(), fmt.Sprintf("fd %d %q: ", e.FD, e.Name))
		s.Kind, _, _ = strings.Cut(s.Kind, " on ")
		if strings.HasSuffix(s.Kind, " listener") {
			s.State = "listening"
		}
	}
	switch e.Kind {
	case handoff.KindTCPListener, handoff.KindUnixListener, handoff.KindSeqpacketListener:
		s.State = "listening"
	case handoff.KindTCPConn, handoff.KindUnixConn, handoff.KindSeqpacketConn:
		s.State = "connected"
	case handoff.KindUDP, handoff.KindUnixgram:
		s.State = "bound"
		switch {
		case s.Peer != "":
			s.State = "connected"
		case s.Address == "":
			s.State = "unbound"
		}
	}
	if s.Flags == nil {
		s.Flags = []string{} // [] and not null in JSON
	}
	return s
}

func text(addr net.Addr) string {
	if addr == nil {
		return ""
	}
	return addr.String()
}

func printPassed(out io.Writer, p passed) error {
	var b strings.Builder
	for _, key := range protocolVariables {
		if value, ok := p.Environment[key]; ok {
			fmt.Fprintf(&b, "%s=%s\n", key, strings.Trim(strconv.Quote(value), `"`))
		}
	}
	pid, set := p.Environment["LISTEN_PID"]
	switch {
	case p.Error != nil:
	case len(p.Sockets) > 0:
		w := table(&b, "INDEX", "FD", "NAME", "KIND", "ADDRESS", "PEER", "STATE", "FLAGS")
		for _, s := range p.Sockets {
			row(w, strconv.Itoa(s.Index), strconv.Itoa(s.FD), s.Name, s.Kind, s.Address, s.Peer, s.State, strings.Join(s.Flags, ","))
		}
		w.Flush()
	case set && pid != strconv.Itoa(p.PID) && p.Environment["LISTEN_FDS"] != "":
		fmt.Fprintf(&b, "process %d was passed no sockets: LISTEN_PID means another process. A wrapper that starts its program as a child is one; it has to become it, by exec, or the sockets be passed without LISTEN_PID, as by 'handoff exec --no-pid'\n", p.PID)
	case p.Environment["LISTEN_PIDFDID"] != "" && p.Environment["LISTEN_FDS"] != "":
		fmt.Fprintf(&b, "process %d was passed no sockets: LISTEN_PIDFDID means another process\n", p.PID)
	default:
		fmt.Fprintf(&b, "process %d was passed no sockets\n", p.PID)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func table(out io.Writer, columns ...string) *tabwriter.Writer {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	row(w, columns...)
	return w
}

// row has a dash for nothing, and no character that breaks it.
func row(w io.Writer, cells ...string) {
	cells = slices.Clone(cells)
	for i, c := range cells {
		if q := strconv.Quote(c); q != `"`+c+`"` {
			cells[i] = q
		}
		if c == "" {
			cells[i] = "-"
		}
	}
	fmt.Fprintln(w, strings.Join(cells, "\t"))
}
