package handoff

import "time"

// wish is the last wish to stop. One wish may arrive by several ways: a signal that ends
// the context of Run too, a Ctrl-C that a supervisor passes on, a stop by the control
// socket before the manager's SIGTERM. It counts once, for to hurry has to be meant.
// It belongs to the goroutine of loop.
type wish struct {
	at     time.Time
	called bool // by Stop, which code calls as often as it means it
}

// oneWish is how long the ways of one wish may differ.
const oneWish = 500 * time.Millisecond

// repeats tells whether what arrives now belongs to the wish that is known.
func (w *wish) repeats(now time.Time, called bool) bool {
	if !w.at.IsZero() && now.Sub(w.at) < oneWish && !(called && w.called) {
		w.called = w.called || called
		return true
	}
	*w = wish{now, called}
	return false
}
