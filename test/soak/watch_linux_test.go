package soak

import (
	"strings"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
)

// A loss is a time in which requests of a process that was struck may be lost.
type loss struct {
	pid      int
	from, to time.Time // to is zero while the process lives
	why      string
}

// aftermath is how far apart a client and this test may notice a process's end.
const aftermath = 500 * time.Millisecond

// strike notes that the connections of a process end, or may end, from now on.
func (k *soak) strike(pid int, why string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.losses = append(k.losses, &loss{pid: pid, from: time.Now(), why: why})
}

// mayBeLost tells whether a request may have failed in this way at this time. k.mu is
// held.
func (k *soak) mayBeLost(f load.Failure) bool {
	switch f.Kind {
	case load.Reset, load.EOF, load.Truncated:
	case load.Connect: // a TLS handshake is a connection that was accepted
		if f.Shape[0] != 'h' || f.Shape[:5] == "http " {
			return false
		}
	default:
		return false
	}
	for _, l := range k.losses {
		if f.Time.After(l.from) && (l.to.IsZero() || f.Time.Before(l.to.Add(aftermath))) {
			return true
		}
	}
	for _, at := range k.failuresInProbationLocked() {
		if f.Time.Sub(at).Abs() < probation+aftermath {
			return true
		}
	}
	return false
}

// failuresInProbationLocked returns when successors have failed that had accepted, by the
// log: some live for so short a time that watch doesn't see them. In a gentle period there is
// none.
func (k *soak) failuresInProbationLocked() (times []time.Time) {
	for line := range strings.Lines(k.First.Output()) {
		if !strings.Contains(line, "upgrade failed (probation)") {
			continue
		}
		stamp, _, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err == nil && k.roughAtLocked(at) {
			times = append(times, at)
		}
	}
	return times
}

// roughAtLocked tells in what kind of period a time is.
func (k *soak) roughAtLocked(at time.Time) (rough bool) {
	for _, p := range k.periods {
		if at.After(p.begun) {
			rough = p.rough
		}
	}
	return rough
}

// watch looks all the time at the PID file and at the processes.
func (k *soak) watch(stop <-chan struct{}) {
	for tick := time.NewTicker(3 * time.Millisecond); ; {
		select {
		case <-stop:
			tick.Stop()
			return
		case <-tick.C:
			k.look()
		}
	}
}

func (k *soak) look() {
	pid, err := k.ReadPID()
	if err != nil {
		k.violated("the PID file: %v", err)
		return
	}
	all := k.Processes()
	alive := make(map[int]bool)
	for _, p := range all {
		alive[p.PID] = p.State != 'Z'
	}
	if again, err := k.ReadPID(); err == nil && again != pid {
		pid = again // it has changed meanwhile; the next look is soon
		alive[pid] = true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	switch {
	case !alive[pid]:
		k.violatedLocked("the PID file names process %d, which is dead", pid)
	case k.main != pid && k.been[pid]:
		k.violatedLocked("the PID file names process %d again, after %d", pid, k.main)
	case k.main != pid:
		k.main, k.been[pid] = pid, true
		k.generations++
	}
	for _, l := range k.losses {
		if l.to.IsZero() && !alive[l.pid] {
			l.to = now
		}
	}
	for pid := range k.been {
		if !alive[pid] {
			delete(k.been, pid) // minutes later the kernel gives the number to another generation
		}
	}
}

// candidates returns the generations that drain, and the successors. The main
// generation is neither.
func (k *soak) candidates() (main int, draining, successors []int) {
	main, err := k.ReadPID()
	if err != nil {
		return 0, nil, nil
	}
	all := k.Processes()
	if again, err := k.ReadPID(); err != nil || again != main {
		return 0, nil, nil // just now
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range all {
		switch {
		case p.State == 'Z' || p.PID == main:
		case k.been[p.PID]:
			draining = append(draining, p.PID)
		default:
			successors = append(successors, p.PID)
		}
	}
	return main, draining, successors
}
