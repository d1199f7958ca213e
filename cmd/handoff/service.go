package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/handoff-dev/handoff/internal/control"
	"github.com/handoff-dev/handoff/internal/systemctl"
)

// exitNoService is the exit code where there is no such service.
const exitNoService = 3

// serviceFlags say which service is meant.
type serviceFlags struct {
	pid    int
	unit   string
	user   bool
	socket string
}

func (f *serviceFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.IntVar(&f.pid, "pid", 0, "the service whose main process is `PID`")
	flags.StringVar(&f.unit, "unit", "", "the service that systemd calls `NAME`")
	flags.BoolVar(&f.user, "user", false, "with --unit: ask the user's own systemd")
	flags.StringVar(&f.socket, "socket", "", "the service whose control socket is at `PATH`")
}

// serviceHelp says in the help of a command which service it is for.
const serviceHelp = `The service is named by --pid, --unit or --socket. Else it is the one service with a
control socket that runs in the current directory or, if none does, the one that this
user runs.`

// service is what was found.
type service struct {
	socket string // "": it has none that can be found
	pid    int    // 0: unknown
	uid    int    // of the process, as it was found
	unit   string // of systemd; "": unknown
}

func (s service) String() string {
	switch {
	case s.unit != "":
		return s.unit
	case s.pid != 0:
		return fmt.Sprintf("process %d", s.pid)
	}
	return s.socket
}

// isMeant returns nil if it is the service, or at least its user's, that listens at the
// other end.
func (s service) isMeant(c net.Conn) error {
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("%s: %w", s.socket, control.ErrOther)
	}
	return control.CheckPeer(conn, s.pid, s.uid)
}

func (f *serviceFlags) check(args []string) error {
	named := 0
	for _, set := range []bool{f.pid != 0, f.unit != "", f.socket != ""} {
		if set {
			named++
		}
	}
	switch {
	case len(args) > 0:
		return usagef("unexpected argument %q: a service is named by --unit, --pid or --socket", args[0])
	case named > 1:
		return usagef("--pid, --unit and --socket exclude each other")
	case f.pid < 0:
		return usagef("--pid is %d: want the number of a process", f.pid)
	case f.user && f.unit == "":
		return usagef("--user is for --unit")
	}
	return nil
}

// find finds the service. Errors have their exit code.
func (f *serviceFlags) find(ctx context.Context, run systemctl.Run) (service, error) {
	switch {
	case f.socket != "":
		path, err := filepath.Abs(f.socket)
		if err != nil {
			return service{}, err
		}
		return service{socket: path}, nil
	case f.pid != 0:
		return byPID(service{pid: f.pid})
	case f.unit != "":
		return f.byUnit(ctx, run)
	}
	return theOne()
}

func noService(err error, hint string) error {
	if hint != "" {
		err = withHint(err, hint)
	}
	return codeError{err, exitNoService}
}

// byPID looks for the control socket of a process.
func byPID(s service) (service, error) {
	if !alive(s.pid) {
		return s, noProcess(s.pid)
	}
	path, err := control.Find(s.pid)
	switch {
	case err == nil:
		s.socket = path
		if s.uid, err = control.UserOf(s.pid); err != nil {
			return s, noService(fmt.Errorf("there is no process %d any more: %w", s.pid, err), "")
		}
	case control.Denied(err):
		return s, unseen(s.pid, err)
	case errors.Is(err, os.ErrNotExist) && alive(s.pid):
		return s, unseen(s.pid, err)
	case errors.Is(err, os.ErrNotExist):
		return s, noProcess(s.pid)
	case !errors.Is(err, control.ErrNone) && !errors.Is(err, errors.ErrUnsupported):
		return s, noService(err, "name the control socket by --socket")
	}
	return s, nil
}

// ofUser asks the user's own systemd.
func ofUser(run systemctl.Run) systemctl.Run {
	return func(ctx context.Context, args ...string) (string, error) {
		return run(ctx, append([]string{"--user"}, args...)...)
	}
}

func (f *serviceFlags) byUnit(ctx context.Context, run systemctl.Run) (service, error) {
	names, err := serviceNames([]string{f.unit})
	if err != nil {
		return service{}, err
	}
	if f.user {
		run = ofUser(run)
	}
	p, err := systemctl.Show(ctx, run, names[0], "LoadState", "ActiveState", "MainPID")
	if err != nil {
		return service{}, noService(err, "")
	}
	pid, _ := strconv.Atoi(p.Get("MainPID"))
	switch {
	case p.Get("LoadState") == "not-found":
		return service{}, noService(fmt.Errorf("systemd knows no unit %s", names[0]), "systemctl list-units --all --type=service shows what there is; units of a user want --user")
	case pid == 0:
		return service{}, noService(fmt.Errorf("%s does not run: it is %s", names[0], p.Get("ActiveState")), "systemctl start "+names[0])
	}
	return byPID(service{pid: pid, unit: names[0]})
}

// theOne is the one service of this directory, or of this user.
func theOne() (service, error) {
	all := control.List()
	here, err := os.Getwd()
	var near []control.Found
	for _, found := range all {
		if err == nil && found.Dir == here {
			near = append(near, found)
		}
	}
	if len(near) > 0 {
		all = near
	}
	switch len(all) {
	case 0:
		return service{}, noService(errors.New("no service of this user has a control socket"),
			"name a service by --unit or --pid; a service has a control socket if Options.Control is set")
	case 1:
		return service{socket: all[0].Socket, pid: all[0].PID, uid: os.Geteuid()}, nil
	}
	var list strings.Builder
	for _, found := range all {
		fmt.Fprintf(&list, "\n  --pid %d (%s)", found.PID, found.Socket)
	}
	return service{}, usagef("there are %d services, of which one has to be named:%s", len(all), list.String())
}
