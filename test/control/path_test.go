//go:build linux

package control

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// configured is a service that reads from a file where its control socket is.
func configured(t *testing.T) (s *service, conf func(path string)) {
	t.Helper()
	s = &service{Server: graceful.New(t, "")}
	s.Install(proctest.Build(t, proctest.Program{Package: "./program", Race: true}))
	file := filepath.Join(s.Dir, "conf")
	conf = func(path string) {
		if err := os.WriteFile(file, []byte(path), 0o600); err != nil {
			t.Fatal(err)
		}
		s.socket, s.client = path, clientOf(path)
		t.Cleanup(s.client.CloseIdleConnections)
	}
	conf(filepath.Join(s.Dir, "control"))
	s.Run(proctest.Command(s.Path, s.PIDFile, file))
	return s, conf
}

func TestANewPathOfTheControlSocketTakesEffectAtTheUpgrade(t *testing.T) {
	t.Parallel()
	s, conf := configured(t)
	first := s.socket
	s.status()

	second := filepath.Join(s.Dir, "other")
	conf(second)
	s.Reload()
	proctest.Until(t, "the new one answers", func() error { _, err := s.tryStatus(); return err })
	if st := s.status(); st.Generation != 2 || len(st.Upgrades) != 1 {
		t.Errorf("the status is %+v", st)
	}
	proctest.Until(t, "the old one is gone", func() error { return missing(first) })

	conf("")
	s.Reload()
	proctest.Until(t, "there is none", func() error { return missing(second) })

	conf(first)
	s.Reload()
	proctest.Until(t, "there is one again", func() error { _, err := s.tryStatus(); return err })
	if st := s.status(); st.Generation != 4 || len(st.Upgrades) != 3 {
		t.Errorf("the history is lost where there was no control socket: %+v", st)
	}
	s.Stop()
	if err := missing(first); err != nil {
		t.Error(err)
	}
}

func TestASuccessorThatCanNotHaveItsControlSocketLeavesThePredecessorsAlone(t *testing.T) {
	t.Parallel()
	s, conf := configured(t)
	first, client := s.socket, s.client
	conf("/nonexistent/control")
	s.socket, s.client = first, client
	_, a := s.upgrade("")
	if a.Outcome != "failed" || !strings.Contains(a.Output, "the directory of the control socket") {
		t.Errorf("%+v", a)
	}
	if st := s.status(); st.Generation != 1 || st.Phase != "serving" {
		t.Errorf("the status is %+v", st)
	}
	s.Stop()
}

func TestMetricsAreAnsweredOnTheControlSocketInEachGeneration(t *testing.T) {
	t.Parallel()
	s, _ := configured(t)
	for generation := 1; generation <= 2; generation++ {
		code, text, err := s.ask("GET", "/metrics", "")
		if want := fmt.Sprintf("\nhandoff_generation %d\n", generation); code != 200 || err != nil || !strings.Contains(string(text), want) {
			t.Errorf("without %q: %d %s (%v)", want, code, text, err)
		}
		if generation == 1 {
			s.upgrade("")
		}
	}
	s.Stop()
}

func TestAGenerationThatIsOrphanedServesTheControlSocket(t *testing.T) {
	t.Parallel()
	s := start(t, "-probation", "30s")
	old := s.Main()
	s.Signal(old, syscall.SIGHUP)
	next := 0
	proctest.Until(t, "the probation", func() error {
		st, err := s.tryStatus()
		if err == nil && (st.Successor == nil || st.Successor.Step != "probation") {
			err = fmt.Errorf("the status is %+v", st)
		}
		if err == nil {
			next = st.Successor.PID
		}
		return err
	})
	s.Adopt(next)
	s.Signal(old, syscall.SIGKILL)
	<-s.First.Exited()
	proctest.Until(t, "the successor answers", func() error {
		st, err := s.tryStatus()
		if err == nil && (st.PID != next || st.Generation != 2) {
			err = fmt.Errorf("the status is %+v", st)
		}
		return err
	})
	s.Signal(next, syscall.SIGTERM)
	s.Generation(next).Wait()
	if err := missing(s.socket); err != nil {
		t.Error(err)
	}
}
