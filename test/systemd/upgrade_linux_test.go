package systemd

import (
	"fmt"
	"testing"
)

func TestTenUpgradesKeepTheSocketsAndTheMainPIDFollows(t *testing.T) {
	t.Parallel()
	for name, command := range map[string][]string{
		"by systemctl reload": {"reload", unit},
		"by systemctl kill":   {"kill", "--signal=HUP", "--kill-whom=main", unit},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := install(t, allSockets(t), flags(append(elsewhere, quick)...))
			s.startSockets(allSockets(t))
			units := s.sockets()
			s.answersEverywhere(1)
			seen := map[int]bool{s.MainPID(unit): true}
			for generation := 2; generation <= 11; generation++ {
				s.Do(command...)
				s.answersEverywhere(generation)
				s.same(units)
				pid := s.MainPID(unit)
				if seen[pid] {
					t.Fatalf("generation %d has the pid of an earlier one, %d", generation, pid)
				}
				seen[pid] = true
			}
			s.alone(s.MainPID(unit))
			for property, want := range map[string]string{"ActiveState": "active", "NRestarts": "0", "Result": "success"} {
				if got := s.Show(unit, property); got != want {
					t.Errorf("%s is %s, want %s", property, got, want)
				}
			}
		})
	}
}

func TestAStopEndsEverythingWithACleanStatus(t *testing.T) {
	t.Parallel()
	s := install(t, httpSocket(t))
	s.startSockets(httpSocket(t))
	s.reached(1)
	s.Do("stop", "graceful.socket", unit)
	s.ended()
}

func TestTheJournalHasLinesOfEveryGenerationUnderTheUnit(t *testing.T) {
	t.Parallel()
	s := install(t, httpSocket(t), flags(quick))
	s.startSockets(httpSocket(t))
	pids := []int{s.reached(1).pid}
	for generation := 2; generation <= 4; generation++ {
		pids = append(pids, s.upgrade(generation).pid)
	}
	for _, pid := range pids {
		s.logged(fmt.Sprintf("graceful[%d]: ", pid))
	}
}

func TestAFailedUpgradeLeavesTheServiceAsItIsAndTheNextOneWorks(t *testing.T) {
	t.Parallel()
	s := install(t, httpSocket(t), flags(quick))
	s.startSockets(httpSocket(t))
	before := s.reached(1)

	s.WriteFile(program, []byte("no program at all"), 0o755)
	s.Do("reload", unit)
	s.logged("upgrade failed")
	if after := s.reached(1); after != before {
		t.Errorf("%+v serves after the failure, %+v did before", after, before)
	}
	if state := s.Show(unit, "SubState"); state != "running" {
		t.Errorf("the service is %s", state)
	}

	s.replaceProgram("2")
	after := s.upgrade(2)
	if after.version != "2" {
		t.Errorf("version %s serves, want 2", after.version)
	}
	s.alone(after.pid)
}

// replaceProgram installs another version of the program.
func (s service) replaceProgram(version string) {
	s.t.Helper()
	s.install(build(s.t, version))
}
