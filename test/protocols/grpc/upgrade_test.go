//go:build linux

package grpc

import (
	"syscall"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestTwentyUpgradesFailNoCall(t *testing.T) {
	s := start(t)
	l := startLoad(t, s.HTTP)
	for range 20 {
		s.Reload()
		l.awaitProcess(t, s.Main())
	}
	r := l.result()
	s.Stop()
	for kind, n := range r {
		t.Logf("%s: %d ok, %d failed", kind, n.ok, n.failed)
		if n.failed > 0 || n.ok == 0 {
			t.Errorf("%s: %d ok, %d failed: %q", kind, n.ok, n.failed, n.errs)
		}
	}
	if len(l.pids) != 21 {
		t.Errorf("%d processes have answered, not 21", len(l.pids))
	}
}

// What the clients do without a successor is why the test above can fail.
func TestARestartWithoutASuccessorFailsCalls(t *testing.T) {
	s := start(t)
	l := startLoad(t, s.HTTP)
	l.awaitProcess(t, s.Main())
	if err := s.First.Stop(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	s.Run(proctest.Command(s.Path, s.First.Cmd.Args[1:]...))
	l.awaitProcess(t, s.Main())
	failed := 0
	for kind, n := range l.result() {
		t.Logf("%s: %d ok, %d failed: %q", kind, n.ok, n.failed, n.errs)
		failed += n.failed
	}
	s.Stop()
	if failed == 0 {
		t.Error("no call has failed")
	}
}
