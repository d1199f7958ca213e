package supervise

import (
	"errors"
	"fmt"
	"time"

	"github.com/handoff-dev/handoff/handoff"
)

// roll is an upgrade of all workers, one after the other.
type roll struct {
	began    time.Time
	replaced int
	next     int // the worker that is being replaced

	from   int    // the generation that served before
	pid    int    // of the last copy that was started; 0: none
	step   string // that is under way: see worker.step
	since  time.Time
	phases []handoff.PhaseTime
}

// ErrUpgrade is wrapped by what is logged of an upgrade that has failed.
var ErrUpgrade = errors.New("the upgrade has failed")

// upgrade replaces the copies of all workers. While it is under way another one can be
// asked for: what is on disk may have changed again.
func (h *Holder) upgrade() {
	if h.stopping {
		return
	}
	if h.roll != nil {
		h.log("an upgrade is under way; another one follows it")
	}
	h.rollAgain = true // see proceed
}

func (h *Holder) beginRoll() {
	from, _ := h.serves()
	h.generation++
	h.roll = &roll{began: time.Now(), next: -1, from: from}
	h.manager.reloading(h.generation)
	h.rollOn()
}

// rollOn replaces the next worker, or ends the roll.
func (h *Holder) rollOn() {
	r := h.roll
	for r.next++; r.next < len(h.workers); r.next++ {
		if w := h.workers[r.next]; w.machine.phase != phaseEnded {
			w.handle(eventUpgrade)
			return
		}
	}
	h.endRoll(nil)
}

// workerUpgraded is told how the replacement of a worker's copy went.
func (h *Holder) workerUpgraded(w *worker, cause error) {
	if h.roll == nil || h.stopping || h.workers[h.roll.next] != w {
		return
	}
	if cause != nil {
		h.endRoll(cause)
		return
	}
	h.roll.replaced++
	h.rollOn()
}

func (h *Holder) endRoll(cause error) {
	r := h.roll
	h.roll = nil
	h.lastErr = ""
	rec := h.record(r, cause)
	if cause == nil {
		h.log("generation %d serves, after %v", h.generation, time.Since(r.began).Round(time.Millisecond))
		h.manager.reloaded(h.generation, nil)
		h.tell(handoff.Event{Type: "committed", Upgrade: &rec})
		h.answerWaiting(&rec, nil, nil)
		h.settleMemory()
		return
	}
	failed := func(cause any) error {
		if r.replaced > 0 {
			return fmt.Errorf("%w after %d of %d workers; the others serve as before: %v", ErrUpgrade, r.replaced, len(h.workers), cause)
		}
		return fmt.Errorf("%w, and nothing has changed: %v", ErrUpgrade, cause)
	}
	err := failed(cause)
	h.lastErr = err.Error()
	h.log("%v", err)
	h.manager.reloaded(h.generation, cause)
	h.tell(handoff.Event{Type: "failed", Upgrade: &rec})
	h.answerWaiting(&rec, cause, failed(rec.Cause))
}
