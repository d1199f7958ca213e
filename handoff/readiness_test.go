//go:build unix

package handoff

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/link"
	"github.com/handoff-dev/handoff/internal/notify"
)

// awaiting is a generation that waits for a successor with the pid 7, which the test
// plays, to be ready.
func awaiting(t *testing.T, kin bool, opts Options) (*Upgrader, *successor, chan error) {
	t.Helper()
	if opts.Probation == 0 {
		opts.Probation = time.Hour
	}
	u := newUpgrader(t, opts)
	if err := u.Ready(); err != nil {
		t.Fatal(err)
	}
	ours, theirs, err := link.Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	s := &successor{link: ours, pid: 7, leaving: true, patience: time.Hour, ended: make(chan struct{}), readiness: readiness{kin: kin}}
	s.cmd = u.command()
	s.cmd.Process = self
	answer := make(chan error, 1)
	u.in(func() { u.successor, u.answer, u.machine.phase = s, answer, phaseUpgrading })
	return u, s, answer
}

func ready(pid int, lines ...State) notify.Message {
	m := notify.Message{PID: pid, Lines: []string{"READY=1"}}
	for _, line := range lines {
		m.Lines = append(m.Lines, string(line))
	}
	return m
}

func TestAfterTheHelloOnlyTheSuccessorsOwnProofCounts(t *testing.T) {
	t.Parallel()
	u, s, _ := awaiting(t, true, Options{})
	u.in(func() {
		u.greeted(s, 7)
		for _, m := range []notify.Message{ready(7), ready(8), ready(8, takesConnections, takesState)} {
			u.noted(s, m)
			if u.machine.phase != phaseUpgrading || s.ready {
				t.Errorf("%v counts", m)
			}
		}
		if err := s.late(); !errors.Is(err, ErrTimeout) || !strings.Contains(err.Error(), "does not count") {
			t.Errorf("late: %v", err)
		}
		u.noted(s, ready(7, takesConnections, takesState))
		if u.machine.phase != phaseProbation || !s.moves || !s.stateful {
			t.Errorf("its own proof does not count: %v, %v, %v", u.machine.phase, s.moves, s.stateful)
		}
	})
}

func TestAProofThatIsFasterThanItsHelloCounts(t *testing.T) {
	t.Parallel()
	u, s, _ := awaiting(t, true, Options{})
	u.in(func() {
		u.noted(s, ready(7, takesConnections))
		u.greeted(s, 7)
		if u.machine.phase != phaseProbation {
			t.Errorf("phase %v, want probation", u.machine.phase)
		}
	})
}

// A wrapper, as unshare(1), is the process that was started, not the one that serves.
func TestTheProofOfAProcessBehindAWrapperCounts(t *testing.T) {
	t.Parallel()
	u, s, _ := awaiting(t, false, Options{})
	u.in(func() {
		u.greeted(s, 1) // in a pid namespace of its own
		u.noted(s, ready(8, takesConnections))
		if u.machine.phase != phaseProbation {
			t.Errorf("phase %v, want probation", u.machine.phase)
		}
	})
}

func TestAReadyOfAForeignProgramCounts(t *testing.T) {
	t.Parallel()
	u, s, _ := awaiting(t, false, Options{})
	u.in(func() {
		u.noted(s, ready(8))
		if u.machine.phase != phaseProbation {
			t.Errorf("phase %v, want probation", u.machine.phase)
		}
	})
}

func TestAnEarlyReadyIsForgottenAtTheHello(t *testing.T) {
	t.Parallel()
	u, s, _ := awaiting(t, true, Options{ReadyTimeout: 20 * time.Millisecond})
	u.in(func() {
		u.noted(s, ready(7))
		if u.machine.phase != phaseUpgrading {
			t.Errorf("phase %v, want upgrading", u.machine.phase)
		}
		u.greeted(s, 7)
		u.settleReady(s, 0)
	})
	for range 3 {
		u.in(func() {
			if u.machine.phase != phaseUpgrading || s.readiness.held {
				t.Errorf("phase %v, want upgrading", u.machine.phase)
			}
		})
		time.Sleep(10 * time.Millisecond)
	}
}

func TestAReadyOfAProgramThatNeverCallsNewCountsInTheEnd(t *testing.T) {
	t.Parallel()
	for name, say := range map[string]func(*Upgrader, *successor){
		"its link ends":       func(u *Upgrader, s *successor) { u.noted(s, ready(7)); u.unlinked(s) },
		"its link has ended":  func(u *Upgrader, s *successor) { u.unlinked(s); u.noted(s, ready(7)) },
		"no hello for a time": func(u *Upgrader, s *successor) { u.opts.ReadyTimeout = time.Millisecond; u.noted(s, ready(7)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, s, _ := awaiting(t, true, Options{ReadyTimeout: time.Hour})
			u.in(func() { say(u, s) })
			for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
				var now phase
				u.in(func() { now = u.machine.phase })
				if now == phaseProbation {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("phase %v, want probation", now)
				}
			}
		})
	}
}

func TestASuccessorThatHasEndedIsNotReady(t *testing.T) {
	t.Parallel()
	u, s, _ := awaiting(t, true, Options{ReadyTimeout: time.Hour})
	close(s.ended)
	u.in(func() { u.noted(s, ready(7)); u.unlinked(s) })
	for range 3 {
		u.in(func() {
			if u.machine.phase != phaseUpgrading {
				t.Errorf("phase %v, want upgrading", u.machine.phase)
			}
		})
		time.Sleep(time.Millisecond)
	}
}

func TestAHelloAfterAReadyThatHasCountedRollsBack(t *testing.T) {
	t.Parallel()
	u, s, answer := awaiting(t, false, Options{})
	u.in(func() {
		u.noted(s, ready(7))
		u.greeted(s, 7)
		if u.machine.phase != phaseAborting {
			t.Errorf("phase %v, want aborting", u.machine.phase)
		}
		u.handle(occurrence{event: eventSuccessorGone, from: s})
	})
	err := until(t, answer, "the answer")
	var failure *UpgradeError
	if !errors.As(err, &failure) || !errors.Is(err, errEarlyReady) || failure.Phase != "probation" {
		t.Errorf("Upgrade: %v", err)
	}
}
