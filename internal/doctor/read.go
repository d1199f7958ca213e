package doctor

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/handoff-dev/handoff/internal/systemctl"
)

// System is where the facts come from.
type System struct {
	// Systemctl runs systemctl, for the manager that has the units.
	Systemctl systemctl.Run
	// Root is the folder in which files are looked for, "/" but in tests.
	Root string
}

// ErrNoUnit says that systemd knows no such unit, or that the unit is masked or wrong.
var ErrNoUnit = errors.New("systemd can't load the unit")

// Read gathers the facts of a service. An error wraps [ErrNoUnit] or comes from
// systemctl; what may not be read of the main process is missing in the facts.
// Systemd, UserManager and Drain are left to the caller.
func (s System) Read(ctx context.Context, unit string) (Facts, error) {
	service, err := systemctl.Show(ctx, s.Systemctl, unit, ServiceProperties...)
	if err != nil {
		return Facts{}, err
	}
	if state := service.Get("LoadState"); state != "loaded" {
		// An error's name, and a sentence in quotes.
		_, why, _ := strings.Cut(service.Get("LoadError"), " ")
		if why = strings.Trim(why, `".`); why == "" {
			why = "its state is " + state
		}
		return Facts{}, fmt.Errorf("%w %s: %s", ErrNoUnit, unit, why)
	}
	f := Facts{Unit: service.Get("Id"), Service: service, Absent: map[string]string{}}
	if f.Sockets, err = s.sockets(ctx, service); err != nil {
		return Facts{}, err
	}
	f.Written = written(s.texts(service)...)
	s.findAbsent(&f)
	f.LinkedDirectory = s.linked(service)
	if pid, _ := strconv.Atoi(service.Get("MainPID")); pid > 0 {
		if f.Process = s.process(pid); f.Process != nil {
			f.Changed = s.ChangedCommand(service, pid)
		}
	}
	return f, nil
}

// sockets are the units that start the service on a connection, by name.
func (s System) sockets(ctx context.Context, service systemctl.Properties) ([]systemctl.Properties, error) {
	names := strings.Fields(service.Get("TriggeredBy"))
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, ".socket") })
	// The socket unit of the service's own name may be there and not loaded: then
	// systemd doesn't name it. That of a template is named with instances that run.
	prefix, _, instance := strings.Cut(strings.TrimSuffix(service.Get("Id"), ".service"), "@")
	guess := prefix + ".socket"
	if slices.Contains(names, guess) {
		guess = ""
	} else {
		names = append(names, guess)
	}
	slices.Sort(names)
	var all []systemctl.Properties
	for _, name := range names {
		socket, err := systemctl.Show(ctx, s.Systemctl, name, SocketProperties...)
		if err != nil {
			return nil, err
		}
		starts := slices.Contains(strings.Fields(socket.Get("Triggers")), service.Get("Id")) || instance && socket.Get("Accept") == "yes"
		if name != guess || socket.Get("LoadState") == "loaded" && starts {
			all = append(all, socket)
		}
	}
	return all, nil
}

// texts are the unit's files, in the order in which they count.
func (s System) texts(service systemctl.Properties) (texts []string) {
	for _, path := range append([]string{service.Get("FragmentPath")}, strings.Fields(service.Get("DropInPaths"))...) {
		if text, err := os.ReadFile(filepath.Join(s.Root, path)); path != "" && err == nil {
			texts = append(texts, string(text))
		}
	}
	return texts
}

// findAbsent looks for the programs of commands. Where the service has an image for
// its root they can't be seen.
func (s System) findAbsent(f *Facts) {
	if f.Service.Get("RootImage") != "" {
		return
	}
	for _, setting := range []string{"ExecStart", "ExecReload"} {
		root := filepath.Join(s.Root, f.Service.Get("RootDirectory"))
		if setting == "ExecReload" && f.Service.Get("RootDirectoryStartOnly") == "yes" {
			root = s.Root
		}
		for _, text := range f.Service[setting] {
			path := parseCommand(text).path
			if !filepath.IsAbs(path) {
				continue
			}
			// A link may be for the inside of the root directory.
			if _, err := os.Lstat(filepath.Join(root, path)); errors.Is(err, os.ErrNotExist) {
				f.Absent[setting] = path
			}
		}
	}
}

const program = "github.com/handoff-dev/handoff"

// Services returns the services that run and whose main program is built with
// package handoff.
func (s System) Services(ctx context.Context) ([]string, error) {
	out, err := s.Systemctl(ctx, "list-units", "--type=service", "--state=active,reloading", "--plain", "--no-legend", "--no-pager", "--full")
	if err != nil {
		return nil, fmt.Errorf("systemctl list-units: %w", err)
	}
	var found []string
	for line := range strings.Lines(out) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		service, err := systemctl.Show(ctx, s.Systemctl, words[0], "MainPID")
		if err != nil {
			return nil, err
		}
		if pid := service.Get("MainPID"); pid != "" && pid != "0" && builtWithHandoff(filepath.Join(s.Root, "proc", pid, "exe")) {
			found = append(found, words[0])
		}
	}
	return found, nil
}

func builtWithHandoff(path string) bool {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return false
	}
	if info.Main.Path == program {
		return true
	}
	for _, m := range info.Deps {
		if m.Path == program {
			return true
		}
	}
	return false
}
