//go:build linux

package faults

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// oneMore is in the log when a draining generation starts its own version again.
const oneMore = "starting this version once more"

// readoptScenarios: the main generation dies while the one before it drains, which
// has been told to readopt the service (Options.Readopt).
func readoptScenarios() (all []*scenario) {
	add := func(step, fault, who string, c *scenario) {
		c.step, c.fault, c.who, c.short = step, fault+", Readopt", who, true
		c.flags = append(c.flags, "-readopt")
		all = append(all, c)
	}
	add("committed", "SIGKILL", "new", &scenario{
		loses: theNew, serves: later, cause: oneMore,
		inject: func(s *service) { s.signalAt("committed", syscall.SIGKILL, "new") },
	})
	for _, supervised := range []bool{false, true} {
		add("draining", "SIGKILL", "new", &scenario{
			manager: supervised, loses: theNew, serves: later, cause: oneMore,
			inject: func(s *service) { s.killMain(); s.awaitReadopted(3, "1"); s.finish() },
		})
	}
	add("draining", "SIGKILL as the old one's last request ends", "new", &scenario{
		loses: theNew, serves: later, cause: oneMore,
		inject: func(s *service) { s.killMain(); s.finish() },
	})
	add("draining", "SIGKILL with no file on disk any more", "new", &scenario{
		loses: theNew, serves: later, cause: oneMore,
		inject: func(s *service) {
			s.upgradeHolding("2")
			s.remove("victim")
			s.killNewest()
			s.awaitReadopted(3, "1")
			if pid, err := s.main(); err != nil || processName(pid) != "victim" {
				s.t.Errorf("process %d (%v) is called %q", pid, err, processName(pid))
			}
			s.finish()
		},
		undo: func(s *service) { s.install(victim(s.t, "2")) },
	})
	add("draining", "SIGKILL with one more wanted", "new", &scenario{
		loses: theNew, serves: later, cause: oneMore,
		inject: func(s *service) {
			s.upgradeHolding("1")
			s.hold("new")
			s.killNewest()
			s.arrived("new")
			s.hangUp()
			s.awaitLog("upgrade signal", "phase=reviving")
			s.release("new")
			s.awaitGeneration(4)
			s.finish()
		},
	})
	add("draining", "SIGKILL, and of the readopted one", "new", &scenario{
		loses: "new, a later one", serves: nobody, cause: oneMore,
		inject: func(s *service) {
			s.killMain()
			s.awaitReadopted(3, "1")
			s.killNewest()
			s.finish()
		},
	})
	add("draining", "SIGKILL, and the next exits", "new", &scenario{
		loses: theNew, serves: nobody, cause: "without a main generation",
		inject: func(s *service) {
			s.upgradeHolding("1")
			s.write("mode", "exit")
			s.killNewest()
			s.awaitLog("without a main generation", "no licence found")
			s.remove("mode")
			s.finish()
		},
	})
	add("draining", "SIGKILL, then SIGTERM to the old", "new", &scenario{
		loses: theNew, serves: nobody, cause: "without a main generation",
		inject: func(s *service) {
			s.upgradeHolding("1")
			s.hold("new")
			s.killNewest()
			s.arrived("new")
			s.procs.signal(s.old, syscall.SIGTERM)
			s.awaitLog("without a main generation")
			s.release("new")
			s.finish()
		},
	})
	add("draining", "SIGKILL, then to the old", "new", &scenario{
		loses: "both", serves: later, cause: "the predecessor has died before it handed over",
		inject: func(s *service) {
			s.upgradeHolding("1")
			s.hold("new")
			s.killNewest()
			s.arrived("new")
			s.procs.signal(s.old, syscall.SIGKILL)
			s.release("new")
		},
	})
	add("draining", "SIGTERM", "new", &scenario{
		serves: nobody,
		inject: func(s *service) { s.signalAt("draining", syscall.SIGTERM, "new") },
	})
	add("draining", "SIGKILL while it upgrades", "new", &scenario{
		loses: theNew, serves: later, cause: "the predecessor has died before it handed over",
		inject: func(s *service) {
			fresh := s.upgradeHolding("1")
			s.hold("new")
			s.procs.signal(fresh, syscall.SIGHUP)
			s.arrived("new")
			s.procs.signal(fresh, syscall.SIGKILL)
			s.release("new")
			s.awaitGeneration(3)
			s.finish()
		},
	})
	add("draining", "SIGKILL to the third while two drain", "third", &scenario{
		loses: "a later one", serves: later, cause: oneMore,
		inject: func(s *service) {
			s.upgradeHolding("1")
			s.holdAnother()
			s.upgrade()
			s.awaitLog("msg=\"the predecessor has handed over\"", "generation=3")
			s.killNewest()
			s.awaitReadopted(4, "1")
			s.finish()
		},
	})
	add("draining", "SIGKILL to the third when the second has ended", "third", &scenario{
		loses: "a later one", serves: later, cause: oneMore,
		inject: func(s *service) {
			second := s.upgradeHolding("1")
			s.upgrade()
			s.procs.ended(second)
			s.awaitLog("an older generation has ended", "generation=3")
			s.killNewest()
			s.awaitReadopted(4, "1")
			s.finish()
		},
	})
	return all
}

// upgradeHolding upgrades to a version while the old generation has a request to
// answer. It returns the successor's pid.
func (s *service) upgradeHolding(version string) (fresh int) {
	s.t.Helper()
	s.install(victim(s.t, version))
	return s.upgradeTo("draining")
}

// killMain kills the successor of a generation that drains.
func (s *service) killMain() {
	s.t.Helper()
	s.upgradeHolding("1")
	s.killNewest()
}

func (s *service) killNewest() {
	s.t.Helper()
	pid, err := s.main()
	if err != nil {
		s.t.Fatal(err)
	}
	s.procs.signal(pid, syscall.SIGKILL)
	s.procs.ended(pid)
}

// holdAnother has the main generation answer a request until they all are
// released.
func (s *service) holdAnother() {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	fmt.Fprint(conn, "GET /held HTTP/1.0\r\n\r\n")
	pid, err := s.main()
	if err != nil {
		s.t.Fatal(err)
	}
	s.awaitHeld("request", pid)
}

// awaitGeneration waits until a generation is the main one.
func (s *service) awaitGeneration(number int) {
	s.t.Helper()
	s.awaitReadopted(number, "")
}

// awaitReadopted waits until a generation of a version serves and is in the PID
// file.
func (s *service) awaitReadopted(number int, version string) {
	s.t.Helper()
	proctest.Until(s.t, fmt.Sprintf("generation %d of version %q serves", number, version), func() error {
		body, err := s.ask()
		if err != nil {
			return err
		}
		var pid, generation int
		var of string
		if _, err := fmt.Sscan(body, &pid, &generation, &of); err != nil {
			return err
		}
		if generation != number || version != "" && of != version {
			return fmt.Errorf("generation %d of version %s does", generation, of)
		}
		if main, err := s.main(); err != nil || main != pid {
			return fmt.Errorf("the PID file names %d (%v), %d serves", main, err, pid)
		}
		s.procs.look()
		return nil
	})
}

// finish lets the old generation end its request, which must be whole.
func (s *service) finish() {
	s.t.Helper()
	if err := s.finishRequest(); err != nil {
		s.t.Errorf("the request that the old one had begun to answer: %v", err)
	}
}

// awaitHeld waits until a process is held at a step.
func (s *service) awaitHeld(step string, pid int) {
	s.t.Helper()
	proctest.Until(s.t, "a process is held at "+step, func() error {
		_, err := os.Stat(filepath.Join(s.dir, "at."+step+"."+strconv.Itoa(pid)))
		return err
	})
}

// processName returns what ps(1) calls a process.
func processName(pid int) string {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.TrimSpace(string(name))
}
