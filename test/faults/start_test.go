//go:build linux

package faults

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// startScenarios: how the service was started, and how much it holds.
func startScenarios() []*scenario {
	hangUp := func(s *service) { s.hangUp() }
	many := []string{"-listeners", "1000"}
	return []*scenario{
		{
			step: "all", fault: "chdir, with a relative argv[0]", serves: theNew, short: true, flags: []string{"-chdir", "/"},
			started: func(s *service, cmd *execCmd) { cmd.Dir, cmd.Args[0] = s.dir, "./victim" },
			inject:  hangUp,
		},
		{
			step: "all", fault: "the directory of the start is removed", serves: theNew, short: true,
			started: inOwnDirectory, inject: func(s *service) { s.remove("cwd"); s.hangUp() },
		},
		{
			step: "all", fault: "the directory of the start is removed", manager: true, serves: theNew, short: true,
			started: inOwnDirectory, inject: func(s *service) { s.remove("cwd"); s.hangUp() },
		},
		{
			step: "all", fault: "the directory of the start is removed after a chdir", serves: theNew, short: true, flags: []string{"-chdir", "/"},
			cause:   "set Options.Dir",
			started: inOwnDirectory, inject: func(s *service) { s.remove("cwd"); s.hangUp() },
		},
		{
			step: "all", fault: "the directory of the start is closed to the user", serves: theNew, short: true,
			started: func(s *service, cmd *execCmd) { inOwnDirectory(s, cmd); asAnotherUser(s, cmd) },
			inject:  func(s *service) { s.closeDir("cwd"); s.hangUp() },
		},
		{
			step: "all", fault: "the directory of the start is closed to the user after a chdir", serves: theNew, short: true, flags: []string{"-chdir", "/"},
			cause:   "set Options.Dir",
			started: func(s *service, cmd *execCmd) { inOwnDirectory(s, cmd); asAnotherUser(s, cmd) },
			inject:  func(s *service) { s.closeDir("cwd"); s.hangUp() },
		},
		{
			step: "fork", fault: "Options.Dir is not there", who: "old", serves: theOld, short: true,
			cause: "(start): chdir /no/such/directory: no such file or directory", next: "fails again",
			flags: []string{"-dir", "/no/such/directory"}, inject: hangUp,
		},
		{
			step: "fork", fault: "Options.Dir is not there", who: "old", manager: true, serves: theOld, short: true,
			cause: "(start): chdir /no/such/directory: no such file or directory", next: "fails again",
			flags: []string{"-dir", "/no/such/directory"}, inject: hangUp,
		},
		{
			step: "all", fault: "an environment near ARG_MAX", serves: theNew, short: true,
			started: func(s *service, cmd *execCmd) { cmd.Env = append(cmd.Env, paddings(13)...) },
			inject:  hangUp,
		},
		{
			step: "all", fault: "arguments near ARG_MAX", serves: theNew,
			prepare: func(s *service) { s.args = paddings(13) },
			inject:  hangUp,
		},
		{
			step: "fork", fault: "an environment at ARG_MAX", who: "old", serves: theOld, cause: "argument list too long", short: true,
			started: func(s *service, cmd *execCmd) { cmd.Env = append(cmd.Env, s.fullEnvironment(cmd)...) },
			inject:  hangUp,
			undo: func(s *service) { // the kernel's limit is a quarter of the stack's
				s.limit(unix.RLIMIT_STACK, 64<<20)
			},
		},
		{step: "all", fault: "1,000 listeners", serves: theNew, short: true, flags: many, inject: hangUp},
		{step: "all", fault: "4,000 listeners", serves: theNew, flags: []string{"-listeners", "4000"}, inject: hangUp},
		{
			step: "new", fault: "SIGKILL with 1,000 listeners", who: "old", loses: theOld, serves: theNew, flags: many,
			inject: func(s *service) { s.signalAt("new", syscall.SIGKILL, "old") },
		},
		{
			step: "new", fault: "SIGKILL with 4,000 listeners", who: "old", loses: theOld, serves: theNew,
			cause: "the predecessor does not answer", // half of what it had to say was said
			flags: []string{"-listeners", "4000"}, leaves: "the unix socket: nobody knows any more who has made it",
			inject: func(s *service) { s.signalAt("new", syscall.SIGKILL, "old") },
		},
		{
			step: "probation", fault: "SIGKILL with 1,000 listeners", who: "new", loses: theNew, serves: theOld, flags: many,
			cause:  "signal: killed",
			inject: func(s *service) { s.signalAt("probation", syscall.SIGKILL, "new") },
		},
	}
}

// inOwnDirectory has the service start in a directory that the test can do without.
func inOwnDirectory(s *service, cmd *execCmd) { cmd.Dir = s.makeDir("cwd") }

// closeDir lets only root enter a directory.
func (s *service) closeDir(name string) {
	s.t.Helper()
	if err := os.Chmod(filepath.Join(s.dir, name), 0o700); err != nil {
		s.t.Fatal(err)
	}
}

func (s *service) makeDir(name string) string {
	s.t.Helper()
	dir := filepath.Join(s.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
		s.t.Fatal(err)
	}
	return dir
}

// padding is nearly the longest string that execve(2) takes.
const padding = 128<<10 - 64

func paddings(n int) (all []string) {
	for i := range n {
		all = append(all, "P"+string(rune('a'+i))+"="+strings.Repeat("x", padding))
	}
	return all
}

// fullEnvironment returns variables that leave no room for any more.
func (s *service) fullEnvironment(cmd *execCmd) []string {
	s.t.Helper()
	pads := paddings(15)
	fits := func(last int) bool {
		probe := *cmd
		// It starts, finds an unknown flag, and exits. The owner's mark is set later.
		probe.Args = append(append([]string(nil), cmd.Args...), "-?")
		probe.Env = append(append([]string(nil), cmd.Env...), pads...)
		probe.Env = append(probe.Env, "PROCTEST_OWNER=12345678.12345678", "LAST="+strings.Repeat("x", last))
		err := probe.Run()
		return !errors.Is(err, syscall.E2BIG)
	}
	last := padding
	for ; last > 0 && !fits(last); last -= 32 {
		if last > 4096 && !fits(last-4096) {
			last -= 4096 - 32
		}
	}
	return append(pads, "LAST="+strings.Repeat("x", last))
}
