package systemd

import (
	"testing"
	"time"
)

// systemd sends SIGTERM a second time, to what is left, when the main process has ended:
// the newest generation has to be the last to go.
func TestAStopLetsTheRequestsOfAllGenerationsFinish(t *testing.T) {
	t.Parallel()
	s := install(t, httpSocket(t), flags(quick))
	s.startSockets(httpSocket(t))
	s.upgradeTo(1)
	first := s.slowRequest(4 * time.Second)
	s.upgradeTo(2)
	second := s.slowRequest(3 * time.Second)
	s.upgradeTo(3)
	third := s.slowRequest(2 * time.Second)
	if pids := s.Processes(unit); len(pids) != 3 {
		t.Fatalf("the processes before the stop are %v, want one for each generation", pids)
	}
	s.Do("stop", "graceful.socket", unit)
	for _, request := range []*slowRequest{first, second, third} {
		request.finished()
	}
	s.ended()
}
