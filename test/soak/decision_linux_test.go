package soak

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// A decision is what is done next. It depends on the seed alone: whom it strikes is
// found out when it is carried out.
type decision struct {
	do    deed
	which float64       // of those that there are at the time, from 0 to 1
	after time.Duration // between its first and its second part
	arg   string        // an executable or the shape of a load
	times int
	pause time.Duration // until the next
}

type deed string

const (
	upgrade       deed = "upgrade"
	failedUpgrade deed = "upgrade to a version that fails"
	storm         deed = "storm of SIGHUPs"
	changeLoad    deed = "another load"
	openStream    deed = "stream"
	lull          deed = "wait until no upgrade is under way, and ask"
	suspend       deed = "SIGSTOP and SIGCONT to a draining generation"

	// Those that may cost requests.
	killDraining  deed = "SIGKILL to a draining generation"
	hurryDraining deed = "SIGTERM to a draining generation"
	killSuccessor deed = "upgrade, and SIGKILL to the successor"
	deadlyUpgrade deed = "upgrade to a version that fails when it is ready"
)

var (
	gentle = []deed{upgrade, upgrade, upgrade, failedUpgrade, failedUpgrade, storm, changeLoad, openStream, openStream, suspend, lull}
	rough  = append([]deed{killDraining, killDraining, hurryDraining, killSuccessor, killSuccessor, killSuccessor, deadlyUpgrade, deadlyUpgrade, lull, lull}, gentle...)

	// Executables, see executable.
	failing = []string{"missing", "not-executable", "no-format", "start", "before-ready", "hang"}
	deadly  = []string{"after-ready", "ready-exit"}
)

// A period is so many decisions of one kind: in a gentle one no request may be lost,
// in a rough one only those that a process had accepted that was struck.
const period = 25

func isRough(n int) bool { return n/period%2 == 1 }

// decide makes the nth decision.
func decide(r *rand.Rand, n int) decision {
	from := gentle
	if isRough(n) {
		from = rough
	}
	d := decision{
		do:    from[r.IntN(len(from))],
		which: r.Float64(),
		after: time.Duration(r.Int64N(int64(400 * time.Millisecond))),
		times: 1 + r.IntN(20),
		pause: time.Duration(r.Int64N(int64(200 * time.Millisecond))),
	}
	// Each decision takes as many numbers from r, so that a new kind changes little.
	arg := r.IntN(1 << 20)
	switch d.do {
	case upgrade:
		d.arg = []string{"1", "2"}[arg%2]
	case failedUpgrade:
		d.arg = failing[arg%len(failing)]
	case deadlyUpgrade:
		d.arg = deadly[arg%len(deadly)]
	case killSuccessor:
		d.arg = "2"
	case changeLoad:
		d.arg = loads[arg%len(loads)].name
	}
	return d
}

func (d decision) String() string {
	text := string(d.do)
	if d.arg != "" {
		text += " " + d.arg
	}
	return fmt.Sprintf("%s (which %.2f, after %v, times %d), then wait %v", text, d.which, d.after.Round(time.Millisecond), d.times, d.pause.Round(time.Millisecond))
}
