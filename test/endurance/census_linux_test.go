package endurance

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// A census is what a process at rest has that could grow from one generation to the
// next, or with each failure. What is each process's own by its nature (its pid,
// the numbers of its sockets) is replaced.
type census struct {
	Open       []string // its descriptors, by what they are
	Environ    []string // that it was started with, but for those of the start itself
	Argv       []string
	Left       []string // files in the service's directory, in /tmp and in /run
	Processes  []string // of the service, zombies too
	OwnEnviron []string // what it has made of its environment; of the probe only
	Goroutines []string // of the probe only

	threads   int
	resident  int    // KiB of memory, the least that was seen
	anonymous int    // KiB of it that no file backs
	heap      uint64 // bytes, after a collection; of the probe only
}

// A subject is a service whose processes are counted.
type subject struct {
	*graceful.Server
	probe   bool
	private bool // it has a /tmp and a /run of its own
}

// newSubject starts a service in a process group and, where that is allowed, with
// a /tmp and a /run of its own, so that what others do there doesn't count.
func newSubject(t *testing.T, executable string, probe bool, flags ...string) *subject {
	t.Helper()
	return newSubjectIn(t, executable, probe, nil, flags...)
}

// newSubjectIn adds to the service's environment.
func newSubjectIn(t *testing.T, executable string, probe bool, env []string, flags ...string) *subject {
	t.Helper()
	s := &subject{Server: graceful.New(t, "/var/tmp"), probe: probe, private: os.Getuid() == 0}
	s.Install(executable)
	args := append([]string{s.Path}, append(s.Flags(), flags...)...)
	if s.private {
		args = append([]string{"unshare", "--mount", "--propagation", "private", "sh", "-c",
			`mount -t tmpfs tmpfs /tmp && mount -t tmpfs tmpfs /run && exec "$@"`, "sh"}, args...)
		proctest.RequireTool(t, "unshare")
	}
	cmd := proctest.Command(args[0], args[1:]...)
	cmd.Env = append(cmd.Env, "GOMAXPROCS=2") // memory and threads depend on it
	cmd.Env = append(cmd.Env, env...)
	s.RunGroup(cmd)
	return s
}

// take counts what a process has when it is at rest: when nobody is connected and
// two looks see the same.
func (s *subject) take(pid int) census {
	s.T.Helper()
	var last census
	resident, anonymous := 1<<30, 1<<30
	same := 0
	proctest.Until(s.T, "the process is at rest", func() error {
		c, err := s.look(pid)
		if err != nil {
			return err
		}
		resident, anonymous = min(resident, c.resident), min(anonymous, c.anonymous)
		what := difference(last, c)
		last = c
		if what != "" {
			same = 0
			return fmt.Errorf("it still changes: %s", what)
		}
		if same++; same < 4 {
			return fmt.Errorf("seen %d times", same)
		}
		return nil
	})
	last.resident, last.anonymous = resident, anonymous
	return last
}

// look takes one look at a process.
func (s *subject) look(pid int) (c census, err error) {
	if s.probe {
		var state struct {
			Environ, Args, Goroutines []string
			Heap                      uint64
		}
		body, err := s.Get("/state")
		if err != nil {
			return c, err
		}
		if err := json.Unmarshal([]byte(body), &state); err != nil {
			return c, fmt.Errorf("%w in %q", err, body)
		}
		c.OwnEnviron, c.Goroutines, c.heap = s.normal(pid, state.Environ), state.Goroutines, state.Heap
		slices.Sort(c.Goroutines)
	}
	if c.Open, err = openFiles(pid); err != nil {
		return c, err
	}
	if i := slices.Index(c.Open, connection); i >= 0 {
		return c, fmt.Errorf("somebody is connected")
	}
	c.Environ = s.normal(pid, slices.DeleteFunc(readStrings(pid, "environ"), ofItsStart))
	c.Argv = readStrings(pid, "cmdline")
	for _, p := range s.Server.Processes() {
		who := "another"
		if p.PID == pid {
			who = "itself"
		} else if p.State == 'Z' {
			who = "a zombie"
		}
		c.Processes = append(c.Processes, who)
	}
	slices.Sort(c.Processes)
	c.Left = s.left(pid)
	c.threads = int(number(fmt.Sprintf("/proc/%d/status", pid), "Threads"))
	rollup := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
	c.resident, c.anonymous = int(number(rollup, "Rss")), int(number(rollup, "Anonymous"))
	return c, nil
}

// ofItsStart tells whether a variable is one that a successor is executed with: which ones
// there are depends on whether it was executed once or twice, and the second
// generation is executed twice if the first was started with a descriptor too many.
func ofItsStart(entry string) bool {
	key, _, _ := strings.Cut(entry, "=")
	return key == "LISTEN_PID" || strings.HasPrefix(key, "HANDOFF_")
}

var notifyName = regexp.MustCompile(`@handoff-notify-\w+`)

// normal replaces in an environment what names one process.
func (s *subject) normal(pid int, env []string) []string {
	// Not at the end of a name: in a pid namespace the number may be a small one.
	own := regexp.MustCompile(`([= ])` + strconv.Itoa(pid) + `\b`)
	for i, entry := range env {
		env[i] = notifyName.ReplaceAllString(own.ReplaceAllString(entry, "${1}PID"), "@handoff-notify-…")
	}
	slices.Sort(env)
	return env
}

// left lists what lies where a service could leave something.
func (s *subject) left(pid int) (files []string) {
	dirs := []string{s.Dir}
	if s.private {
		dirs = append(dirs, fmt.Sprintf("/proc/%d/root/tmp", pid), fmt.Sprintf("/proc/%d/root/run", pid))
	}
	for i, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			s.T.Error(err)
		}
		for _, e := range entries {
			files = append(files, fmt.Sprintf("%s/%s", []string{"directory", "/tmp", "/run"}[i], e.Name()))
		}
	}
	return files
}

const connection = "TCP connection"

// openFiles returns what the descriptors of a process are.
func openFiles(pid int) ([]string, error) {
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return nil, err
	}
	var open []string
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil {
			open = append(open, target)
		}
	}
	// After the descriptors: a socket that is here was there then.
	sockets := readSockets(pid)
	for i, target := range open {
		kind, rest, ok := strings.Cut(target, ":[")
		switch {
		case kind == "socket" && ok:
			if open[i] = sockets[strings.TrimSuffix(rest, "]")]; open[i] == "" {
				return nil, fmt.Errorf("%s has gone meanwhile", target)
			}
		case ok:
			open[i] = kind
		}
	}
	slices.Sort(open)
	return open, nil
}

// readSockets describes all sockets of the network namespace by their inodes.
func readSockets(pid int) map[string]string {
	sockets := make(map[string]string)
	each := func(table string, describe func(fields []string) (inode, what string)) {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			return
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			inode, what := describe(append(strings.Fields(lines.Text()), make([]string, 10)...))
			sockets[inode] = what
		}
	}
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		each(table, func(f []string) (string, string) {
			const listen, unconnected = "0A", "07"
			if f[3] == listen || f[3] == unconnected {
				return f[9], table + " at " + f[1]
			}
			return f[9], connection
		})
	}
	each("unix", func(f []string) (string, string) {
		if f[7] == "" {
			return f[6], "unnamed unix socket"
		}
		return f[6], "unix socket " + notifyName.ReplaceAllString(f[7], "@handoff-notify-…")
	})
	return sockets
}

// readStrings reads a file of /proc/PID of strings that end with a zero byte.
func readStrings(pid int, name string) []string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
}

// number reads a line "key: number" of a file of /proc.
func number(path, key string) int64 {
	data, _ := os.ReadFile(path)
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n
		}
	}
	return -1
}

// difference says what has changed between two looks, and "" if nothing has.
func difference(before, after census) string {
	var text strings.Builder
	b, a := reflect.ValueOf(before), reflect.ValueOf(after)
	for i := range b.NumField() {
		field := b.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		was, is := b.Field(i).Interface().([]string), a.Field(i).Interface().([]string)
		gone, come := without(was, is), without(is, was)
		if len(gone)+len(come) > 0 {
			fmt.Fprintf(&text, "%s: gone %q, new %q; ", field.Name, gone, come)
		}
	}
	return text.String()
}

// without returns what a has that b hasn't, counting how often.
func without(a, b []string) (rest []string) {
	count := make(map[string]int)
	for _, s := range b {
		count[s]++
	}
	for _, s := range a {
		if count[s]--; count[s] < 0 {
			rest = append(rest, s)
		}
	}
	return rest
}

func (c census) String() string {
	text := fmt.Sprintf("%d descriptors, %d threads, %d variables, %d arguments, %d KiB", len(c.Open), c.threads, len(c.Environ), len(c.Argv), c.anonymous)
	if c.Goroutines != nil {
		text += fmt.Sprintf(", %d goroutines, heap %d KiB", len(c.Goroutines), c.heap>>10)
	}
	return text
}

// sameAs fails the test for each thing that has grown since an earlier census.
func (c census) sameAs(t testing.TB, before census) {
	t.Helper()
	if what := difference(before, c); what != "" {
		t.Errorf("changed: %s", what)
	}
	// The runtime starts a thread when none is idle at a moment, and keeps it.
	const spareThreads = 4
	if c.threads > before.threads+spareThreads {
		t.Errorf("%d threads, before %d", c.threads, before.threads)
	}
}
