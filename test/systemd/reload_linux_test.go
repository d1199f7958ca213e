package systemd

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/proctest"
	"golang.org/x/sys/unix"
)

// notifyReload is a drop-in by which systemctl reload waits for the upgrade's end.
func notifyReload() map[string]string { return setting("reload", "Type=notify-reload\nExecReload=") }

func TestANotifyReloadIsOneUpgradeAndReturnsAfterIt(t *testing.T) {
	t.Parallel()
	s := install(t, httpSocket(t), notifyReload(), flags("-probation=500ms"))
	s.since(t, 253, "Type=notify-reload")
	s.startSockets(httpSocket(t))
	s.reached(1)
	s.Wait(unit, "ActiveState", "active")
	g := s.load(t, load.NewConn(), load.KeepAlive())
	for generation := 2; generation <= 4; generation++ {
		start := time.Now()
		s.Do("reload", unit)
		if took := time.Since(start); took < 500*time.Millisecond {
			t.Errorf("the reload took %v, less than the probation", took)
		}
		// No waiting: the commit is behind us.
		r, err := s.ask("tcp")
		if err != nil {
			t.Fatal(err)
		}
		if r.generation != generation || s.MainPID(unit) != r.pid || s.Show(unit, "ActiveState") != "active" {
			t.Errorf("when the reload returns %+v serves, the main process is %d, the service %s", r, s.MainPID(unit), s.Show(unit, "ActiveState"))
		}
		s.alone(r.pid)
	}
	noLoss(t, g)
	if n := strings.Count(s.Journal(unit), "starting a successor"); n != 3 {
		t.Errorf("3 reloads were %d upgrades", n)
	}
	s.crash()
	s.Wait(unit, "NRestarts", "1")
	s.reached(1)
}

func TestAFailedNotifyReloadEndsAtOnceAndTheServiceLivesOn(t *testing.T) {
	t.Parallel()
	s := install(t, httpSocket(t), notifyReload(), flags(quick))
	s.since(t, 253, "Type=notify-reload")
	s.startSockets(httpSocket(t))
	before := s.reached(1)
	s.Wait(unit, "ActiveState", "active")
	s.WriteFile(program, []byte("no program at all"), 0o755)
	start := time.Now()
	s.Systemctl("reload", unit) // its exit code can't tell
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("the reload took %v", took)
	}
	s.statusSays("exec format error", true)
	s.Wait(unit, "ActiveState", "active")
	if after := s.reached(1); after != before {
		t.Errorf("%+v serves after the failure, %+v did before", after, before)
	}
	s.replaceProgram("2")
	s.Do("reload", unit)
	if after, err := s.ask("tcp"); err != nil || after.generation != 2 || after.version != "2" {
		t.Errorf("after the next reload %+v serves (%v)", after, err)
	}
}

func TestAnUpgradeIsAReloadWhileItLasts(t *testing.T) {
	t.Parallel()
	s := install(t, httpSocket(t), flags("-ready-delay=1s"))
	s.startSockets(httpSocket(t))
	s.reached(1)
	s.Wait(unit, "ActiveState", "active")
	// Not by reload: that would be seen in any case.
	s.Do("kill", "--signal=HUP", "--kill-whom=main", unit)
	s.Wait(unit, "ActiveState", "reloading")
	s.reached(2)
	s.Wait(unit, "ActiveState", "active")
}

func TestTheIdentityOfEveryProcessIsItsOwn(t *testing.T) {
	t.Parallel()
	s := install(t, allSockets(t), flags(append(elsewhere, quick)...), setting("watchdog", "WatchdogSec=10"))
	given := version(t, s.Box) >= 259
	s.startSockets(allSockets(t))
	for generation := 1; generation <= 3; generation++ {
		s.upgradeTo(generation)
		s.answersEverywhere(generation)
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", s.HostPID(unit)))
		if err != nil {
			t.Fatal(err)
		}
		env := map[string]string{}
		for pair := range strings.SplitSeq(string(environ), "\x00") {
			key, value, _ := strings.Cut(pair, "=")
			env[key] = value
		}
		pid := fmt.Sprint(s.MainPID(unit))
		for _, key := range []string{"LISTEN_PID", "SYSTEMD_EXEC_PID", "WATCHDOG_PID"} {
			// A generation that another has started directly names itself before its main;
			// what it was executed with is to name nobody.
			if own := generation > 1 && env["HANDOFF_STAGE"] != "" && env[key] == ""; env[key] != pid && !own {
				t.Errorf("generation %d, process %s, was started with %s=%q", generation, pid, key, env[key])
			}
		}
		id, has := env["LISTEN_PIDFDID"]
		if generation == 1 && has != given {
			t.Errorf("LISTEN_PIDFDID of the first generation: %v, want %v by this systemd", has, given)
		}
		if has && id != pidfdID(t, s.HostPID(unit)) {
			t.Errorf("generation %d was started with LISTEN_PIDFDID=%s, its own is %s", generation, id, pidfdID(t, s.HostPID(unit)))
		}
	}
}

// pidfdID returns the number that LISTEN_PIDFDID has for a process.
func pidfdID(t *testing.T, pid int) string {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(st.Ino)
}

func TestInAPIDNamespaceOfItsOwnTheUpgradeIsRefusedAndTheServiceLivesOn(t *testing.T) {
	t.Parallel()
	// With sockets of its own: systemd 257 and 262 give LISTEN_PID, or LISTEN_PIDFDID, of
	// another process here, so that nobody takes the sockets of a unit.
	s := install(t, setting("private", "PrivatePIDs=yes"), flags(quick))
	s.since(t, 257, "PrivatePIDs=")
	s.Do("start", unit)
	before, err := s.ask("tcp")
	if err != nil {
		t.Fatal(err)
	}
	if before.pid != 1 {
		t.Fatalf("the service has pid %d in its own namespace, want 1", before.pid)
	}
	s.Wait(unit, "ActiveState", "active")
	main := s.MainPID(unit)
	// Not by reload: under 257 the kill of ExecReload= has a namespace of its own, too.
	s.Do("kill", "--signal=HUP", "--kill-whom=main", unit)
	s.logged("PrivatePIDs=")
	s.statusSays("privatepids=", true)
	s.Wait(unit, "ActiveState", "active")
	if after, err := s.ask("tcp"); err != nil || after != before || s.MainPID(unit) != main {
		t.Errorf("%+v serves after the refusal (%v), %+v did before", after, err, before)
	}
	if pids := s.Processes(unit); len(pids) != 1 {
		t.Errorf("the processes are %v, want one", pids)
	}
}

func TestAReloadOfAServiceThatStillStartsDoesNothing(t *testing.T) {
	t.Parallel()
	s := install(t, flags("-ready-delay=2s"))
	started := make(chan int, 1)
	go func() { _, code := s.Systemctl("start", unit); started <- code }()
	s.Wait(unit, "ActiveState", "activating")
	s.Systemctl("reload", unit)
	if code := <-started; code != 0 {
		t.Fatalf("systemctl start: exit code %d", code)
	}
	proctest.Until(t, "an answer", func() error { _, err := s.ask("tcp"); return err })
	if log := s.Journal(unit); strings.Contains(log, "starting a successor") || strings.Contains(log, "upgrade signal") {
		t.Error("the reload has led to an upgrade")
	}
}

func TestAnUpgradeThatTakesLongerThanItsReloadMayGoesOn(t *testing.T) {
	t.Parallel()
	s := install(t, httpSocket(t), notifyReload(), setting("short", "TimeoutStartSec=1"), flags("-probation=3s"))
	s.since(t, 253, "Type=notify-reload")
	s.startSockets(httpSocket(t))
	s.reached(1)
	if out, code := s.Systemctl("reload", unit); code == 0 {
		t.Errorf("the reload has succeeded: %s", out)
	}
	s.logged("Reload operation timed out")
	s.alone(s.reached(2).pid)
	if n := s.Show(unit, "NRestarts"); n != "0" {
		t.Errorf("the service was restarted %s times", n)
	}
}
