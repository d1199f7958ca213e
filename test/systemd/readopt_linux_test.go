package systemd

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// systemd takes the death of the main process for the end of the service. Under
// ExitType=cgroup and NotifyAccess=all it would take another main process, and end the
// service at the next reload.
func TestUnderSystemdAServiceIsNotReadoptedButRestarted(t *testing.T) {
	t.Parallel()
	s := installKeeper(t, flags("-readopt"))
	s.Do("start", unit)
	old := s.upgradeTo(1)
	s.slowRequest(10 * time.Minute)
	s.upgradeTo(2)
	if pids := s.Processes(unit); !slices.Contains(pids, old.pid) {
		t.Fatalf("the processes are %v, want that %d drains", pids, old.pid)
	}
	s.crash()
	s.Wait(unit, "NRestarts", "1")
	s.alone(s.reached(1).pid)
	if strings.Contains(s.Journal(unit), "once more") {
		t.Error("the generation that drained has started another one")
	}
	s.Do("stop", unit)
}
