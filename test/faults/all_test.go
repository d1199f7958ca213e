//go:build linux

package faults

import (
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// scenarios are all cases.
func scenarios() []*scenario {
	return slices.Concat(
		signalScenarios(),
		wantedScenarios(),
		binaryScenarios(),
		successorScenarios(),
		limitScenarios(),
		fullFilesScenarios(),
		fileScenarios(),
		startScenarios(),
		readoptScenarios(),
		namespaceScenarios(),
	)
}

// hangUp asks the old generation for an upgrade.
func (s *service) hangUp() {
	s.t.Helper()
	s.procs.signal(s.old, syscall.SIGHUP)
}

// wantedScenarios: the successor dies while one more upgrade is wanted.
func wantedScenarios() (all []*scenario) {
	for _, step := range []string{"stage", "new", "ready", "probation"} {
		all = append(all, &scenario{
			step: step, fault: "SIGKILL while one more is wanted", who: "new", loses: "new",
			serves: later, cause: "signal: killed",
			inject: func(s *service) {
				fresh := s.upgradeTo(step)
				s.hangUp()
				if step != "probation" { // there its own goroutine is held, and signals wait
					s.awaitLog("upgrade signal", "phase=upgrading")
				}
				s.procs.signal(fresh, syscall.SIGKILL)
				s.procs.ended(fresh)
				s.release(step)
			},
		})
	}
	return all
}

// successorScenarios: what successors do, see the victim's documentation.
func successorScenarios() []*scenario {
	mode := func(name string, c *scenario) *scenario {
		c.fault = name
		if c.inject == nil {
			c.inject = func(s *service) { s.write("mode", c.who); s.hangUp() }
		}
		c.undo = func(s *service) { s.remove("mode") }
		c.short = true
		return c
	}
	readyTimeout := []string{"-ready-timeout", stopTimeout.String()}
	all := []*scenario{
		mode("exits with a STATUS and an ERRNO", &scenario{step: "ready", who: "exit", serves: theOld, cause: "no licence found"}),
		mode("hangs and ignores SIGTERM", &scenario{step: "ready", who: "hang", flags: readyTimeout, serves: theOld, cause: "not ready in time"}),
		mode("forks and exits", &scenario{step: "ready", who: "fork-exit", serves: theOld, cause: "the successor exited"}),
		mode("is ready and exits with status 0", &scenario{step: "probation", who: "ready-exit", loses: theNew, serves: theOld, cause: "(probation): the successor exited"}),
		mode("is ready and crashes", &scenario{step: "probation", who: "crash", loses: theNew, serves: theOld, cause: "(probation): exit status 2"}),
		mode("says READY=1 twice", &scenario{step: "ready", who: "ready-twice", serves: theNew}),
		mode("says READY=1 before New, exits", &scenario{step: "new", who: "first-exit", serves: theOld, cause: "exit status 3"}),
		mode("says READY=1 before Upgrader.Ready, exits", &scenario{step: "ready", who: "early-exit", serves: theOld, cause: "exit status 3"}),
		mode("says READY=1 before Upgrader.Ready, hangs", &scenario{
			step: "ready", who: "early-hang", flags: readyTimeout, serves: theOld, cause: "its READY=1 does not count",
		}),
		mode("its child says READY=1, hangs", &scenario{
			step: "ready", who: "child-hang", flags: readyTimeout, serves: theOld, cause: "its READY=1 does not count",
		}),
		mode("closes its descriptors, health check", &scenario{
			step: "probation", who: "close-fds", flags: append([]string{"-check"}, readyTimeout...),
			serves: theOld, cause: "the health check failed",
		}),
		mode("closes its descriptors, no health check", &scenario{
			step: "probation", who: "close-fds", serves: nobody, loses: theNew, cause: "upgraded",
			inject: func(s *service) {
				s.write("mode", "close-fds")
				s.hangUp()
				s.awaitLog("upgraded")
				s.remove("mode")
				s.procs.signal(s.successor(), syscall.SIGTERM)
			},
		}),
		mode("never reads its link", &scenario{
			step: "commit", who: "deaf", serves: theNew,
			next: "the successor is another program", leaves: "what another program doesn't remove",
		}),
		mode("is stopped, health check", &scenario{
			step: "probation", who: "new", flags: append([]string{"-check"}, readyTimeout...),
			serves: theOld, cause: "the health check failed",
			inject: func(s *service) {
				fresh := s.upgradeTo("probation")
				s.procs.signal(fresh, syscall.SIGSTOP)
				s.release("probation")
				s.awaitLog("phase", "to=aborting")
				s.procs.signal(fresh, syscall.SIGCONT)
			},
		}),
	}
	return all
}

func namespaceScenarios() []*scenario {
	return []*scenario{
		{
			step: "fork", fault: "init of its pid namespace", serves: theOld, cause: "would end the service",
			next: "refused again", short: true,
			started: func(s *service, cmd *execCmd) {
				needRoot(s.t)
				cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
			},
			inject: func(s *service) { s.hangUp() },
		},
		{
			step: "all", fault: "a year later by the monotonic clock", serves: theNew,
			started: func(s *service, cmd *execCmd) {
				needRoot(s.t)
				unshare := proctest.RequireTool(s.t, "unshare")
				year := strconv.Itoa(365 * 24 * 3600)
				cmd.Args = append([]string{"unshare", "--time", "--monotonic", year, "--boottime", year, cmd.Path}, cmd.Args[1:]...)
				cmd.Path = unshare
			},
			inject: func(s *service) { s.hangUp() },
		},
	}
}

func TestTheShortFormHasSomeOfEach(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range scenarios() {
		if c.short {
			seen[c.step] = true
		}
	}
	for _, step := range steps {
		if !seen[step] {
			t.Errorf("the short form has nothing of step %s", step)
		}
	}
	if strings.Contains(strings.Join(steps, " "), "  ") {
		t.Error("a step without a name")
	}
}
