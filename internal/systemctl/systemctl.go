// Package systemctl asks systemd about itself and its units.
package systemctl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// Run runs systemctl with arguments and returns what it prints. Tests have others.
type Run func(ctx context.Context, args ...string) (string, error)

// ErrNotFound says that there is no systemctl on this machine.
var ErrNotFound = errors.New("there is no systemctl in PATH")

// Machine runs the machine's systemctl.
func Machine(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "systemctl", args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SYSTEMD_COLORS=0", "SYSTEMD_PAGER=")
	out, said, err := Output(cmd, 8<<20)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", ErrNotFound
	case err != nil:
		said := strings.Join(strings.Fields(string(said)), " ")
		if said == "" {
			said = "it gives no reason"
		}
		return "", fmt.Errorf("%w: %s", err, said)
	}
	return string(out), nil
}

// ErrTooMuch says that a command has printed more than anybody wants to keep.
var ErrTooMuch = errors.New("it prints too much")

// Output runs a command and returns what it prints, and the beginning of what it says on
// standard error. A command that prints more than most bytes is ended: the error is
// [ErrTooMuch], beside the first of them.
func Output(cmd *exec.Cmd, most int) (stdout, stderr []byte, err error) {
	out, said := limited{most: most, strict: true}, limited{most: 64 << 10}
	cmd.Stdout, cmd.Stderr = &out, &said
	err = cmd.Run()
	if out.over { // and the command has died of SIGPIPE
		err = ErrTooMuch
	}
	return out.kept.Bytes(), said.kept.Bytes(), err
}

// limited keeps the first bytes that are written to it. strict: it fails then.
type limited struct {
	kept   bytes.Buffer
	most   int
	strict bool
	over   bool
}

func (l *limited) Write(p []byte) (int, error) {
	room := l.most - l.kept.Len()
	l.kept.Write(p[:min(room, len(p))])
	if len(p) > room && l.strict {
		l.over = true
		return room, ErrTooMuch
	}
	return len(p), nil
}

// Version returns systemd's version, such as 252.
func Version(ctx context.Context, run Run) (int, error) {
	out, err := run(ctx, "--version")
	if err != nil {
		return 0, fmt.Errorf("systemctl --version: %w", err)
	}
	words := strings.Fields(out)
	if len(words) < 2 || words[0] != "systemd" {
		return 0, fmt.Errorf("systemctl --version doesn't begin with systemd and a number: %.40q", out)
	}
	// Releases before a major one are called 257~rc1 and 257.1.
	number := words[1][:len(words[1])-len(strings.TrimLeft(words[1], "0123456789"))]
	version, err := strconv.Atoi(number)
	if err != nil {
		return 0, fmt.Errorf("systemctl --version: %q is no version", words[1])
	}
	return version, nil
}

// Properties are those of one unit. A property may have several values, each on a
// line of its own, such as the commands of ExecReload.
type Properties map[string][]string

// Get returns the last value, "" if there is none.
func (p Properties) Get(name string) string {
	if all := p[name]; len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// Has tells whether this systemd knows the property.
func (p Properties) Has(name string) bool { _, ok := p[name]; return ok }

// Show returns the properties of a unit. Those that this systemd doesn't know are
// missing.
func Show(ctx context.Context, run Run, unit string, names ...string) (Properties, error) {
	out, err := run(ctx, "show", "--all", "--no-pager", "--property="+strings.Join(names, ","), "--", unit)
	if err != nil {
		return nil, fmt.Errorf("systemctl show %s: %w", unit, err)
	}
	return parse(out, names), nil
}

var assignment = regexp.MustCompile(`^([A-Za-z0-9]+)=`)

// parse reads lines of NAME=VALUE. A value may go on in the next line: an argument
// of a command may have a line break in it.
func parse(out string, names []string) Properties {
	known := map[string]bool{}
	for _, name := range names {
		known[name] = true
	}
	p := Properties{}
	last := ""
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		if m := assignment.FindStringSubmatch(line); m != nil && known[m[1]] {
			last = m[1]
			p[last] = append(p[last], line[len(m[0]):])
		} else if last != "" && line != "" {
			p[last][len(p[last])-1] += "\n" + line
		}
	}
	return p
}
