// Package unit writes the unit files of a service that upgrades itself.
package unit

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/handoff-dev/handoff/internal/spec"
)

// Options say what the units are for.
type Options struct {
	// Program is the absolute path of the program, Args what follows it.
	Program string
	Args    []string
	// Name is that of the units, without a suffix. "" means that of the program's
	// file.
	Name string
	// Description is what systemctl(1) shows. "" means Name.
	Description string
	// User is the user, by name or number, that the service runs as. "" means root.
	User string
	// Directory is the absolute path of the working directory. A symbolic link stays one,
	// so that after it was moved an upgrade leads to the new directory. "" means /.
	Directory string
	// Sockets are opened by systemd. A socket without a name gets its type's.
	Sockets []spec.Spec
	// Drain is how long the program's connections may take to end. 0 means 30 s,
	// as in package handoff.
	Drain time.Duration
	// Command is the absolute path of the handoff command where the service runs, for
	// ExecReload. "" means that it isn't there: then a signal has to do.
	Command string
	// NotifyReload is for Type=notify-reload, which wants systemd 253.
	NotifyReload bool
	// Systemd is the version that is to read the files. 0 means unknown.
	Systemd int
}

// File is a unit file.
type File struct{ Name, Text string }

const (
	// Oldest is the version of systemd that the units were tested with.
	Oldest = 252
	// oldestNotifyReload is the first that knows Type=notify-reload.
	oldestNotifyReload = 253

	defaultDrain = 30 * time.Second
	// after the drain there is time to end.
	margin = 15 * time.Second
	// beforeReady is longer than a successor may take from its start to the
	// hand-over: a minute to be ready, and a second after that.
	beforeReady = 90 * time.Second

	// longestName leaves place for suffixes in the 255 characters of a unit's name.
	longestName = 200
)

// ErrTooOld says that Type=notify-reload is asked for, of a systemd that doesn't
// know it.
var ErrTooOld = errors.New("a unit of Type=notify-reload wants systemd 253")

// Files returns the .service unit, then the .socket units: one for each name, for
// all sockets of a unit share one name.
func Files(opts Options) ([]File, error) {
	opts, err := opts.complete()
	if err != nil {
		return nil, err
	}
	groups, err := group(opts)
	if err != nil {
		return nil, err
	}
	service, err := service(opts, groups)
	if err != nil {
		return nil, err
	}
	files := []File{{opts.Name + ".service", service}}
	for _, g := range groups {
		text, err := socket(opts, g, len(groups) > 1)
		if err != nil {
			return nil, err
		}
		files = append(files, File{g.unit, text})
	}
	return files, nil
}

var (
	unitName  = regexp.MustCompile(`^[A-Za-z0-9:_.-]+$`)
	notInName = regexp.MustCompile(`[^A-Za-z0-9:_.-]+`)
	userName  = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_-]{0,30}|[0-9]+)$`)
)

func (o Options) complete() (Options, error) {
	if !filepath.IsAbs(o.Program) {
		return o, fmt.Errorf("the program's path %q is not absolute", o.Program)
	}
	if o.Directory != "" {
		if !filepath.IsAbs(o.Directory) {
			return o, fmt.Errorf("the working directory %q is not absolute", o.Directory)
		}
		o.Directory = filepath.Clean(o.Directory) // as systemd wants it
	}
	if o.Name == "" {
		o.Name = strings.Trim(notInName.ReplaceAllString(filepath.Base(o.Program), "-"), "-")
	}
	o.Name = strings.TrimSuffix(o.Name, ".service")
	if !unitName.MatchString(o.Name) || len(o.Name) > longestName {
		return o, fmt.Errorf("%q can't be the name of a unit: want up to %d letters, digits and :_.-", o.Name, longestName)
	}
	if o.Description == "" {
		o.Description = o.Name
	}
	if o.User != "" && !userName.MatchString(o.User) {
		return o, fmt.Errorf("%q is no user's name nor number", o.User)
	}
	switch {
	case o.Drain < 0 || o.Drain > 24*time.Hour:
		return o, fmt.Errorf("the drain is %v: want 0 to 24h", o.Drain)
	case o.Drain == 0:
		o.Drain = defaultDrain
	}
	if o.NotifyReload && o.Systemd != 0 && o.Systemd < oldestNotifyReload {
		return o, fmt.Errorf("%w, and this is %d", ErrTooOld, o.Systemd)
	}
	return o, nil
}

// seconds writes d for systemd.time(7), rounded up.
func seconds(d time.Duration) string {
	return fmt.Sprintf("%.0fs", math.Ceil(d.Seconds()))
}

// text is a unit file that is being written.
type text struct {
	strings.Builder
	err error
}

func (t *text) line(line string) { t.WriteString(line + "\n") }

// set writes a setting after a comment of lines.
func (t *text) set(name, value string, comment ...string) {
	for _, c := range comment {
		t.line("# " + c)
	}
	t.line(name + "=" + value)
}

// quoted writes a setting whose value may have to be escaped.
func (t *text) quoted(name, raw string, comment ...string) {
	v, err := value(raw)
	if err != nil && t.err == nil {
		t.err = fmt.Errorf("%s=%q: %w", name, raw, err)
	}
	t.set(name, v, comment...)
}

func (t *text) result() (string, error) { return t.String(), t.err }
