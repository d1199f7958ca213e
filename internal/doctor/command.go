package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/handoff-dev/handoff/internal/systemctl"
)

// CommandProperties are the properties that [System.ChangedCommand] looks at.
var CommandProperties = []string{"MainPID", "ExecStart", "RootDirectory", "RootImage"}

// ChangedCommand tells in what the command line of a service's main process differs from
// its ExecStart=, as a sentence without a full stop; "" if it does not, or if that can't
// be known: a program may change its command line, and become another program. An
// upgrade starts the file in the place of the running program, with its arguments,
// whatever ExecStart= says by now.
func (s System) ChangedCommand(service systemctl.Properties, pid int) string {
	starts := service["ExecStart"]
	if len(starts) != 1 || service.Get("RootDirectory") != "" || service.Get("RootImage") != "" {
		return ""
	}
	text, err := os.ReadFile(s.proc(pid, "cmdline"))
	if err != nil {
		return ""
	}
	argv := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	exe, err := os.Readlink(s.proc(pid, "exe"))
	if err != nil {
		return ""
	}
	return s.changed(parseCommand(starts[0]), argv, strings.TrimSuffix(exe, " (deleted)"))
}

func (s System) changed(c command, argv []string, exe string) string {
	running := strings.Join(argv, " ")
	switch {
	case plain(running) == plain(c.args), !filepath.IsAbs(c.path), !filepath.IsAbs(argv[0]):
		return ""
	case s.sameFile(argv[0], c.path) || s.sameFile(exe, c.path):
		// systemd puts in what a variable has when it starts the program, and names the
		// program as argv[0] says, unless the line begins with @.
		if argv[0] != c.path || strings.Contains(c.args, "$") || !strings.HasPrefix(c.args, c.path) {
			return ""
		}
		return fmt.Sprintf("it runs as %q, and ExecStart= is %q by now", running, strings.TrimSpace(c.args))
	case !s.sameFile(argv[0], exe), s.isScript(c.path), strings.Contains(c.args, filepath.Base(argv[0])) && filepath.Base(argv[0]) != filepath.Base(c.path):
		return "" // what ExecStart= names may have become this
	}
	return fmt.Sprintf("it runs %q, and ExecStart= names %q by now", argv[0], c.path)
}

// plain leaves out what systemctl may quote by.
func plain(line string) string {
	return strings.TrimSpace(strings.NewReplacer(`"`, "", `'`, "", `\`, "").Replace(line))
}

// sameFile compares what the paths lead to, and the paths themselves where nothing is
// there any more.
func (s System) sameFile(a, b string) bool {
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	return s.resolve(a) == s.resolve(b)
}

func (s System) resolve(path string) string {
	if to, err := filepath.EvalSymlinks(filepath.Join(s.Root, path)); err == nil {
		return to
	}
	return filepath.Join(s.Root, path)
}

// isScript tells whether the kernel starts an interpreter for a file.
func (s System) isScript(path string) bool {
	f, err := os.Open(filepath.Join(s.Root, path))
	if err != nil {
		return false
	}
	defer f.Close()
	var head [2]byte
	n, _ := f.Read(head[:])
	return string(head[:n]) == "#!"
}

// checkCommand looks for an ExecStart= that has changed since the service was started.
func checkCommand(r *report) {
	if r.Changed != "" {
		r.add(Warning, "command-changed",
			fmt.Sprintf("An upgrade starts what runs, and not what ExecStart= says, and the main process, %d, is another: %s.", r.Process.PID, r.Changed),
			"Restart the service once, or install the new version at the path that runs.")
	}
}
