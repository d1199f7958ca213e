//go:build unix

package handoff

import (
	"os"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

// pairOf returns both ends of a link.
func pairOf(t *testing.T) (ours, theirs *link.Conn) {
	t.Helper()
	ours, file, err := link.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if theirs, err = link.OpenFile(file); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

// Generation 1 moves its connections to 2, which hands over to 3.
func TestConnectionsComeBackFromASuccessorsSuccessorThatDoesNotTakeThem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name            string
		moves, stateful bool
	}{
		{"another program", false, false},
		{"one without state", true, false},
		{"one without connections", false, true},
		{"the same program", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDeparture(t) // of generation 1
			u := newUpgrader(t, Options{})
			ours, third := pairOf(t)
			e := &relative{Elder: link.Elder{PID: os.Getpid(), Generation: 1}, conn: d.other}
			sent, _ := d.emigrant(t)
			d.send(sent) // 2 hasn't read it when it hands over
			for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
				d.mover.mu.Lock()
				away := len(d.mover.away)
				d.mover.mu.Unlock()
				if away == 1 || time.Now().After(end) {
					break
				}
			}
			u.in(func() {
				u.successor = &successor{link: ours, moves: c.moves, stateful: c.stateful}
				u.machine.phase = phaseDraining
				u.passOn(e)
				u.successor, u.machine.phase = nil, phaseServing
			})
			if !c.moves || !c.stateful {
				d.await(t, 1, 0)
				late, _ := d.emigrant(t)
				d.send(late)
				d.await(t, 2, 0)
				return
			}
			third.SetReadDeadline(time.Now().Add(10 * time.Second))
			m, err := third.Receive()
			if err != nil || m.Kind != link.KindElder {
				t.Fatalf("the third got kind %d: %v", m.Kind, err)
			}
			defer m.Close()
			if d.other, err = link.OpenFile(m.Files[0]); err != nil {
				t.Fatal(err)
			}
			defer d.other.Close()
			got, _ := d.next(t)
			d.answer(t, got.First, 1)
			d.await(t, 0, 1)
		})
	}
}
