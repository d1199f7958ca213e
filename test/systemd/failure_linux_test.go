package systemd

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestTheStatusAndTheJournalSayWhyAnUpgradeFailed(t *testing.T) {
	t.Parallel()
	for when, cause := range map[string]string{
		"start":         "exit status 3",
		"before-ready":  "about to fail",
		"after-ready":   "(probation)",
		"ready-exit":    "(probation)",
		"hang":          "not ready in time",
		"no executable": "exec format error",
		"no file":       "no such file or directory",
	} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			s := install(t, httpSocket(t), flags("-ready-timeout=1s", "-probation=500ms"))
			s.startSockets(httpSocket(t))
			before := s.reached(1)
			switch when {
			case "no executable":
				s.WriteFile(program, []byte("no program at all"), 0o755)
			case "no file":
				if err := os.Remove(s.Path(program)); err != nil {
					t.Fatal(err)
				}
			default:
				s.install(proctest.Build(t, proctest.Program{Package: "./test/faulty", Dir: "../..", Ldflags: "-X main.fail=" + when}))
			}
			s.Wait(unit, "ActiveState", "active")
			s.Do("reload", unit)
			s.statusSays("failed", true)
			s.statusSays(cause, true)
			s.logged("upgrade failed")
			if !strings.Contains(s.Journal(unit), cause) {
				t.Errorf("the journal does not say %q", cause)
			}
			for property, want := range map[string]string{"ActiveState": "active", "SubState": "running", "MainPID": fmt.Sprint(before.pid), "NRestarts": "0"} {
				if got := s.Show(unit, property); got != want {
					t.Errorf("%s is %s, want %s", property, got, want)
				}
			}
			s.alone(before.pid)
			// The next one works at once.
			s.replaceProgram("2")
			s.Do("reload", unit)
			if after := s.reached(2); after.version != "2" {
				t.Errorf("version %s serves, want 2", after.version)
			}
			s.statusSays("failed", false)
		})
	}
}

// install replaces the program's file.
func (s service) install(file string) {
	s.t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	s.WriteFile(program, data, 0o755)
}

func TestASuccessorThatIsNeverReadyIsNoReasonForTheWatchdog(t *testing.T) {
	t.Parallel()
	s := install(t, httpSocket(t), setting("watchdog", "WatchdogSec=1"), flags("-ready-timeout=3s"))
	s.startSockets(httpSocket(t))
	before := s.reached(1)
	s.install(proctest.Build(t, proctest.Program{Package: "./test/faulty", Dir: "../..", Ldflags: "-X main.fail=hang"}))
	s.Wait(unit, "ActiveState", "active")
	s.Do("reload", unit)
	s.statusSays("not ready in time", true)
	if after := s.reached(1); after != before {
		t.Errorf("%+v serves after the failure, %+v did before", after, before)
	}
	if n := s.Show(unit, "NRestarts"); n != "0" {
		t.Errorf("the service was restarted %s times", n)
	}
}

func TestAShortWatchdogDoesNotBiteOverUpgradesUnderLoad(t *testing.T) {
	t.Parallel()
	// The probation is longer than the watchdog's time.
	s := install(t, httpSocket(t), setting("watchdog", "WatchdogSec=1"), flags("-probation=1200ms"))
	s.startSockets(httpSocket(t))
	g := s.load(t, load.NewConn(), load.KeepAlive())
	for generation := 2; generation <= 5; generation++ {
		s.upgrade(generation)
	}
	noLoss(t, g)
	if log := s.Journal(unit); strings.Contains(log, "Watchdog timeout") || s.Show(unit, "NRestarts") != "0" {
		t.Error("the watchdog has bitten")
	}
}

func TestTheWatchdogBitesWhenTheHealthCheckFailsOrHangs(t *testing.T) {
	t.Parallel()
	const sick = "/run/sick"
	for _, how := range []string{"fail", "hang"} {
		for _, generation := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s in generation %d", how, generation), func(t *testing.T) {
				t.Parallel()
				s := installKeeper(t, httpSocket(t), setting("watchdog", "WatchdogSec=1"), flags("-sick="+sick))
				s.startSockets(httpSocket(t))
				s.reached(1)
				for g := 2; g <= generation; g++ {
					s.alone(s.upgrade(g).pid)
				}
				s.WriteFile(sick, []byte(how), 0o644)
				s.logged("Watchdog timeout")
				if err := os.Remove(s.Path(sick)); err != nil {
					t.Fatal(err)
				}
				s.WaitFor(unit, "NRestarts", "more than none", func(v string) bool { return v != "0" })
				s.reached(1)
			})
		}
	}
}

func TestAnUpgradeSignalToAllProcessesReachesTheNewest(t *testing.T) {
	t.Parallel()
	s := install(t, httpSocket(t), flags(quick))
	s.startSockets(httpSocket(t))
	s.upgradeTo(1)
	slow := s.slowRequest(4 * time.Second) // generation 1 drains meanwhile
	main := s.upgradeTo(2)
	g := s.load(t, load.NewConn(), load.KeepAlive())
	if pids := s.Processes(unit); len(pids) != 2 {
		t.Fatalf("the processes are %v, want two", pids)
	}
	s.Do("kill", "--signal=HUP", unit)
	proctest.Until(t, "the newest generation to upgrade", func() error {
		r, err := s.ask("tcp")
		if err == nil && r.generation < 3 {
			err = errors.New("generation 2 serves")
		}
		return err
	})
	// However many signals come while it upgrades, the last one counts.
	for range 5 {
		s.Do("kill", "--signal=HUP", unit)
	}
	slow.finished()
	noLoss(t, g)
	last := s.settled()
	if last.generation < 4 || last.pid == main.pid {
		t.Errorf("after all of the signals %+v serves", last)
	}
	s.upgrade(last.generation + 1)
}

// settled waits until one process is all of the service and no upgrade is on its way.
func (s service) settled() (main reply) {
	s.t.Helper()
	proctest.Until(s.t, "the upgrades to end", func() (err error) {
		if main, err = s.ask("tcp"); err != nil {
			s.t.Fatal(err)
		}
		pids, state := s.Processes(unit), s.Show(unit, "ActiveState")
		if len(pids) != 1 || pids[0] != main.pid || s.MainPID(unit) != main.pid || state != "active" {
			err = fmt.Errorf("the processes are %v, %+v serves, the service is %s", pids, main, state)
		}
		return err
	})
	return main
}
