//go:build unix

package handoff

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/link"
	"github.com/handoff-dev/handoff/internal/notify"
)

// in runs f in the loop, and waits for it.
func (u *Upgrader) in(f func()) {
	done := make(chan struct{})
	if u.post(occurrence{run: func() { f(); close(done) }}) {
		<-done
	}
}

func TestASuccessorThatStopsInItsProbationIsNotCommittedTo(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{Probation: time.Hour})
	ln := listenLocal(t, u)
	if err := u.Ready(); err != nil {
		t.Fatal(err)
	}
	ours, theirs, err := link.Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	s, answer := &successor{link: ours}, make(chan error, 1)
	u.in(func() {
		u.successor, u.answer, u.machine.phase = s, answer, phaseUpgrading
		u.noted(s, notify.Message{Lines: []string{"READY=1"}})
		if u.machine.phase != phaseProbation {
			t.Errorf("phase %v, want probation", u.machine.phase)
		}
		u.noted(s, notify.Message{Lines: []string{"STOPPING=1"}})
		if u.machine.phase != phaseAborting {
			t.Errorf("phase %v, want aborting", u.machine.phase)
		}
	})
	conns, _ := accepting(ln)
	dialTo(t, ln)
	until(t, conns, "a connection: it should accept again").Close()
	u.in(func() { u.handle(occurrence{event: eventSuccessorGone, from: s}) })
	if err := until(t, answer, "the answer"); !errors.Is(err, ErrStops) {
		t.Errorf("Upgrade: %v, want %v", err, ErrStops)
	}
}

func TestASuccessorThatStopsTellsItsPredecessor(t *testing.T) {
	inbox, err := net.ListenPacket("unixgram", filepath.Join(t.TempDir(), "notify"))
	if err != nil {
		t.Fatal(err)
	}
	defer inbox.Close()
	inbox.SetReadDeadline(time.Now().Add(10 * time.Second))
	t.Setenv("NOTIFY_SOCKET", "")
	u := newUpgrader(t, Options{})
	t.Setenv("NOTIFY_SOCKET", inbox.LocalAddr().String())
	conn, other, err := link.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	u.in(func() {
		u.machine.awaiting = true
		u.family.predecessor = &relative{conn: conn}
	})
	if err := u.Ready(); err != nil {
		t.Fatal(err)
	}
	u.Stop()
	for _, want := range []string{"READY=1\n" + string(takesConnections) + "\n" + string(takesState), "STOPPING=1"} {
		b := make([]byte, 100)
		n, _, err := inbox.ReadFrom(b)
		if strings.TrimSpace(string(b[:n])) != want {
			t.Fatalf("the predecessor is told %q, %v, want %q", b[:n], err, want)
		}
	}
}
