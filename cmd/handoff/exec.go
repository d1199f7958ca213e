package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"github.com/handoff-dev/handoff/internal/activate"
	"github.com/handoff-dev/handoff/internal/spec"
)

// The exit codes of "handoff exec" are those of env(1), nohup(1) and timeout(1), as any
// other is the program's.
const (
	exitExecFailed    = 125
	exitNotExecutable = 126
	exitNotFound      = 127
)

// execOptions are the flags of "handoff exec".
type execOptions struct {
	listen    specTexts
	names     []string
	environ   activate.Environ
	backlog   int
	first     int
	most      int
	writeFile string
	noPID     bool
	lazy      bool
	accept    bool
	inetd     bool
	datagram  bool
	seqpacket bool
	quiet     bool
}

// specTexts are specifications in the order in which they stand, whichever of two flags
// they follow.
type specTexts []string

func (s *specTexts) String() string { return "" }
func (s *specTexts) Type() string   { return "SPEC" }
func (s *specTexts) Set(text string) error {
	*s = append(*s, text)
	return nil
}

const specHelp = `A SPEC is [NAME=][TYPE::]VALUE[?OPTION[&OPTION]...]:

  3000                    TCP, all addresses (systemfd takes 127.0.0.1)
  127.0.0.1:3000          TCP; also [::1]:3000 and localhost:3000
  http::3000              TCP, said to be for HTTP; also https:: and tcp::
  udp::1567               UDP
  /run/app.sock           unix stream socket; also unix::app.sock
  unixgram::/run/log      unix datagram socket
  seqpacket::/run/ctl     unix sequential packet socket
  @app                    abstract unix socket (Linux)
  vsock::2:1234           CID and port of vsock (Linux)
  fd::5                   a descriptor that this command was started with

The NAME is what the program finds the socket by (LISTEN_FDNAMES); without one it
is "unknown", as with systemfd. Options: mode=0660, owner=USER and group=GROUP of
a unix socket's file, backlog=N, reuseport, freebind, defer-accept[=SECONDS],
keepalive, v6only. Quote the question mark for the shell.`

func newExec() *cobra.Command {
	var opt execOptions
	cmd := &cobra.Command{
		Use:   "exec [flags] -- PROGRAM [ARGUMENT]...",
		Short: "Open sockets and become a program that is given them",
		Long: `Open sockets and become a program that is given them, as systemd gives them to
a service: sd_listen_fds(3).

` + specHelp + `

Sockets that this command was given itself by LISTEN_FDS are passed on, before its
own. The program gets them, and the descriptors 0 to 2, and no other; it has this
command's process id. With --no-pid a wrapper may stand between, which many a
reader accepts (listenfd, package handoff), and libsystemd does not:

  handoff exec -l http::3000 -- ./server
  handoff exec --no-pid -l 3000 -- watchexec -r -- cargo run
  handoff exec --accept --inetd -l 2000 -- cat

With --accept each connection has a program of its own, with the connection as
descriptor 3 and REMOTE_ADDR and REMOTE_PORT in its environment. SIGTERM or
Ctrl-C ends the listening, sends the programs SIGTERM and waits for them; again,
it kills them.

Exit codes: the program's own; 2 called wrongly, 125 this command failed, such as
with an address in use, 126 the program can't be executed, 127 there is none of
that name. With --accept, or before the first connection with --lazy, 0 after
SIGTERM and Ctrl-C.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return runExec(cmd, opt, args) },
	}
	f := cmd.Flags()
	f.VarP(&opt.listen, "listen", "l", "open the socket `SPEC`; may be repeated")
	f.VarP(&opt.listen, "socket", "s", "the same, as systemfd calls it")
	f.StringArrayVar(&opt.names, "fdname", nil, "the `NAME[:NAME]...` of the sockets in their order; one is for all")
	f.StringArrayVarP(&opt.environ.Set, "setenv", "E", nil, "set `VAR=VALUE` for the program; VAR alone passes it on with --clean-env")
	f.BoolVar(&opt.environ.Clean, "clean-env", false, "of the environment keep only TERM, COLORTERM, NO_COLOR, PATH, USER, HOME, as systemd-socket-activate")
	f.IntVar(&opt.backlog, "backlog", 0, "how many connections may wait, where the SPEC doesn't say (default: the system's most)")
	f.IntVar(&opt.first, "first-fd", 3, "the descriptor of the first socket; above 3 only readers of LISTEN_FDS_FIRST_FD find them")
	f.StringVarP(&opt.writeFile, "write-file", "w", "", "write the sockets' addresses to `FILE`, a line each, such as for port 0")
	f.BoolVar(&opt.noPID, "no-pid", false, "leave out LISTEN_PID, so that a descendant of the program can take the sockets")
	f.BoolVar(&opt.lazy, "lazy", false, "start the program only when a connection or a datagram waits")
	f.BoolVarP(&opt.accept, "accept", "a", false, "start a program for each connection")
	f.IntVar(&opt.most, "max-connections", 256, "with --accept, how many programs may run; more connections wait")
	f.BoolVar(&opt.inetd, "inetd", false, "pass the one socket, or each connection, as standard input and output")
	f.BoolVarP(&opt.datagram, "datagram", "d", false, "a SPEC without a type is for datagrams")
	f.BoolVar(&opt.seqpacket, "seqpacket", false, "a SPEC without a type is for sequential packets")
	f.BoolVarP(&opt.quiet, "quiet", "q", false, "don't say what is listened on, and what is started for connections")
	f.SetInterspersed(false) // what follows the program is the program's
	for _, flag := range []string{"listen", "socket"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, completeSpec) // fails for a flag that isn't there
	}
	return cmd
}

// completeSpec offers the types; a path without one is the shell's to complete.
func completeSpec(_ *cobra.Command, _ []string, begun string) (all []string, _ cobra.ShellCompDirective) {
	for _, word := range spec.Types {
		if strings.HasPrefix(word, begun) {
			all = append(all, word+"::")
		}
	}
	if len(all) == 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return all, cobra.ShellCompDirectiveNoSpace
}

func runExec(cmd *cobra.Command, opt execOptions, args []string) error {
	if err := opt.check(args); err != nil {
		return err
	}
	specs, err := opt.specs()
	if err != nil {
		return usageError{err}
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return notExecuted(err)
	}
	a, err := newActivation(cmd, opt, specs)
	if err != nil {
		return err
	}
	a.program = activate.Program{Path: path, Args: args}
	a.opt.environ.Base = os.Environ() // without what Inherit has taken out
	err = a.run(cmd.Context())
	if err != nil {
		a.discard() // nobody has them
	}
	return err
}

// check is about the flags alone.
func (o *execOptions) check(args []string) error {
	var names []string
	for _, n := range o.names {
		names = append(names, strings.Split(n, ":")...)
	}
	o.names = names
	switch {
	case len(args) == 0:
		return usagef("the program is missing")
	case o.first < 3 || o.first > 1<<16:
		return usagef("--first-fd is %d: want 3 or more, and 65536 at most", o.first)
	case o.backlog < 0:
		return usagef("--backlog is %d: want 1 or more", o.backlog)
	case o.most < 1:
		return usagef("--max-connections is %d: want 1 or more", o.most)
	case o.datagram && o.seqpacket:
		return usagef("--datagram and --seqpacket exclude each other")
	case o.datagram && o.accept:
		return usagef("--datagram and --accept exclude each other: nothing can be accepted from a datagram socket")
	case o.lazy && o.accept:
		return usagef("--lazy and --accept exclude each other: with --accept a program is started by a connection anyway")
	case o.first != 3 && (o.accept || o.inetd):
		return usagef("--first-fd is not for --accept and --inetd")
	case o.inetd && len(o.names) > 0:
		return usagef("--fdname and --inetd exclude each other: there is nothing to name")
	}
	for _, name := range o.names {
		notInName := func(r rune) bool { return r < ' ' || r > '~' || r == '\\' }
		if name == "" || len(name) > 255 || strings.ContainsFunc(name, notInName) {
			return usagef("--fdname %q: want 1 to 255 printable ASCII characters without colon and backslash", name)
		}
	}
	for _, entry := range o.environ.Set {
		key, _, _ := strings.Cut(entry, "=")
		switch {
		case key == "" || strings.ContainsRune(entry, 0):
			return usagef("--setenv %q: want VAR=VALUE", entry)
		case activate.Protected(key):
			return usagef("--setenv %s: this command sets it itself", key)
		}
	}
	return nil
}

func (o *execOptions) specs() (all []spec.Spec, err error) {
	style := spec.Stream
	switch {
	case o.datagram:
		style = spec.Datagram
	case o.seqpacket:
		style = spec.Seqpacket
	}
	for i, text := range o.listen {
		s, err := style.Parse(text)
		if err != nil {
			return nil, err
		}
		if o.accept && s.Datagram() {
			return nil, fmt.Errorf("socket %s: nothing can be accepted from a datagram socket", s)
		}
		if o.backlog > 0 && s.Options.Backlog == 0 && !s.Datagram() && s.Type != "fd" {
			s.Options.Backlog = o.backlog
		}
		switch n := len(o.names); {
		case n > 0 && s.Name != "":
			return nil, fmt.Errorf("socket %s has a name: leave that out, or --fdname", s)
		case n == 1:
			s.Name = o.names[0]
		case n > 1 && n != len(o.listen):
			return nil, fmt.Errorf("--fdname gives %d names, and there are %d sockets", n, len(o.listen))
		case n > 1:
			s.Name = o.names[i]
		}
		all = append(all, s)
	}
	return all, nil
}

// notExecuted gives an error about the program its exit code.
func notExecuted(err error) error {
	cause := err
	var notFound *exec.Error
	var path *fs.PathError
	switch {
	case errors.As(err, &notFound):
		cause = fmt.Errorf("execute %s: %w", notFound.Name, notFound.Err)
	case !errors.As(err, &path):
		return codeError{err, exitExecFailed}
	}
	switch {
	case errors.Is(err, exec.ErrDot):
		return codeError{withHint(cause, "say ./ before it if that is meant"), exitNotFound}
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return codeError{cause, exitNotFound}
	case isFormatError(err):
		return codeError{withHint(cause, "it is for another machine, or a script without a first line such as #!/bin/sh"), exitNotExecutable}
	}
	return codeError{cause, exitNotExecutable}
}
