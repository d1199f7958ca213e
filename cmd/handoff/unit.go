package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/handoff-dev/handoff/internal/spec"
	"github.com/handoff-dev/handoff/internal/systemctl"
	"github.com/handoff-dev/handoff/internal/unit"
)

// unitOptions are the flags of "handoff unit".
type unitOptions struct {
	sockets []string
	unit    unit.Options
	write   string
	force   bool
}

func newUnit() *cobra.Command {
	var opt unitOptions
	cmd := &cobra.Command{
		Use:   "unit [flags] -- PROGRAM [ARGUMENT]...",
		Short: "Print systemd unit files for a program that upgrades itself",
		Long: `Print systemd unit files for a program that upgrades itself.

It prints a .service and, for the sockets that systemd is to open, a .socket for
each name, with a comment on each line that matters. The program is found as a
shell finds it, and written with its absolute path.

A socket is [NAME=][TYPE::]VALUE. The value is a port, an address with a port, a
path or @ with an abstract address; the type is one of ` + strings.Join(spec.Types[:5], ", ") + `,
` + strings.Join(spec.Types[5:8], ", ") + `, and may be missing. The program finds the socket by the name, which
is the type's if there is none:

  handoff unit --socket http=8080 --socket admin=/run/app.sock -- /usr/bin/app -v

With --write it writes the files to a folder and prints their paths.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return printUnits(cmd, opt, args, systemctl.Machine)
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&opt.sockets, "socket", "s", nil, "have systemd open the socket `SPEC`; may be repeated")
	f.StringVar(&opt.unit.Name, "name", "", "the name of the units (default: the program's)")
	f.StringVar(&opt.unit.Description, "description", "", "what systemctl calls the service (default: its name)")
	f.StringVar(&opt.unit.User, "user", "", "the `USER` that the service runs as (default: root)")
	f.StringVar(&opt.unit.Directory, "directory", "", "the working directory `DIR`; an upgrade follows a symbolic link (default: /)")
	f.DurationVar(&opt.unit.Drain, "drain", 30*time.Second, "how long the program lets connections end")
	f.BoolVar(&opt.unit.NotifyReload, "notify-reload", false, "let systemd send the signal and wait for the upgrade: systemd 253 and later")
	f.IntVar(&opt.unit.Systemd, "systemd", 0, "the `VERSION` that is to read the files (default: this machine's)")
	f.StringVar(&opt.write, "write", "", "write the files to the folder `DIR`")
	f.BoolVar(&opt.force, "force", false, "let --write replace files")
	f.SetInterspersed(false) // what follows the program is the program's
	return cmd
}

// installedCommand returns this command's own path if it is where a service, of any
// user, finds it; else "".
func installedCommand() string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	for _, dir := range []string{"/usr/bin", "/usr/local/bin", "/bin", "/usr/sbin", "/usr/local/sbin", "/opt"} {
		if rest, ok := strings.CutPrefix(self, dir+"/"); ok && (dir == "/opt" || !strings.Contains(rest, "/")) {
			return self
		}
	}
	return ""
}

func printUnits(cmd *cobra.Command, opt unitOptions, args []string, run systemctl.Run) error {
	switch {
	case len(args) == 0:
		return usagef("the program is missing")
	case opt.force && opt.write == "":
		return usagef("--force is for --write")
	case opt.unit.Systemd < 0:
		return usagef("--systemd is %d: want a version, such as %d", opt.unit.Systemd, unit.Oldest)
	case opt.unit.Drain <= 0:
		return usagef("--drain is %v: want more than 0", opt.unit.Drain)
	}
	for _, text := range opt.sockets {
		s, err := spec.Parse(text)
		if err != nil {
			return usageError{err}
		}
		opt.unit.Sockets = append(opt.unit.Sockets, s)
	}
	program, err := findProgram(args[0])
	if err != nil {
		return err
	}
	opt.unit.Program, opt.unit.Args = program, args[1:]
	opt.unit.Command = installedCommand()
	if opt.unit.Systemd == 0 {
		if opt.unit.Systemd, err = machineVersion(cmd.Context(), run); err != nil {
			return err
		}
	}
	files, err := unit.Files(opt.unit)
	switch {
	case errors.Is(err, unit.ErrTooOld):
		return withHint(err, "without --notify-reload the units work from systemd 252 on; --systemd says which version they are for")
	case err != nil:
		return usageError{err}
	}
	if opt.write != "" {
		return writeUnits(cmd.OutOrStdout(), opt.write, opt.force, files)
	}
	for i, f := range files {
		if i > 0 {
			fmt.Fprintln(cmd.OutOrStdout())
		}
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "# %s\n%s", f.Name, f.Text); err != nil {
			return fmt.Errorf("print %s: %w", f.Name, err)
		}
	}
	return nil
}

// machineVersion returns this machine's version of systemd, 0 where there is none:
// the units may be for another.
func machineVersion(ctx context.Context, run systemctl.Run) (int, error) {
	version, err := systemctl.Version(ctx, run)
	switch {
	case errors.Is(err, systemctl.ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, withHint(err, "say it by --systemd")
	}
	return version, nil
}

// findProgram returns the program's absolute path. Links stay, so that a link that
// is moved to another version leads to that.
func findProgram(name string) (string, error) {
	if filepath.IsAbs(name) {
		return filepath.Clean(name), nil // maybe of another machine
	}
	path, err := exec.LookPath(name)
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return "", withHint(fmt.Errorf("find the program: %w", err), "give its absolute path; then it need not be there yet")
	}
	return filepath.Abs(path)
}

func writeUnits(out io.Writer, dir string, force bool, files []unit.File) error {
	if !force {
		for _, f := range files {
			if _, err := os.Lstat(filepath.Join(dir, f.Name)); err == nil {
				return withHint(fmt.Errorf("%s is there already; nothing was written", filepath.Join(dir, f.Name)), "--force replaces it")
			}
		}
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		if err := writeUnit(path, force, f.Text); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		if _, err := fmt.Fprintln(out, path); err != nil {
			return fmt.Errorf("print %s: %w", path, err)
		}
	}
	return nil
}

// writeUnit writes a file whole or not at all: first under another name.
func writeUnit(path string, force bool, text string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".handoff-unit-")
	if err != nil {
		return withoutPath(err)
	}
	defer func() { err = errors.Join(err, removeIfThere(f.Name())) }()
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Chmod(0o644) // whatever the umask
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if force {
		return os.Rename(f.Name(), path)
	}
	return withoutPath(os.Link(f.Name(), path)) // fails when somebody was quicker
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// withoutPath leaves the cause of an error about a file that is named already.
func withoutPath(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}
