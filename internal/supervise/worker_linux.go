package supervise

import "time"

// worker is one of the places that a copy serves in.
type worker struct {
	holder  *Holder
	index   int
	machine machine
	main    *process
	next    *process
	timer   *time.Timer // of the probation or of the backoff
	backoff backoff
	lived   time.Duration // how long the last copy did
	cause   error         // why the last copy failed
	served  bool          // one was ready once

	launches int // counts them, and their ends: which of them is still wanted
}

func (h *Holder) addWorker(index int) *worker {
	w := &worker{holder: h, index: index, backoff: backoff{min: h.opt.BackoffMin, max: h.opt.BackoffMax}}
	h.workers = append(h.workers, w)
	return w
}

// handle has the machine take an event, and does what follows.
func (w *worker) handle(e event) {
	for _, effect := range w.machine.step(e, w.follows()) {
		w.perform(effect)
	}
}

// follows tells whether a copy of the worker that has ended is followed by another.
func (w *worker) follows() bool {
	switch w.holder.opt.Restart {
	case RestartAlways:
		return true
	case RestartNever:
		return false
	}
	// The very first start is somebody's deployment, who wants to see that it failed.
	return w.served && w.cause != nil
}

func (w *worker) perform(e effect) {
	h := w.holder
	switch e {
	case effectLaunch:
		w.launch()
	case effectProbation:
		w.next.check = nil
		w.step("probation")
		h.log("%s is ready; both serve for %v", w.next, max(h.opt.Probation, 0))
		w.wait(h.opt.Probation, eventProven)
	case effectReplace:
		old := w.main
		w.main, w.next = w.next, nil
		w.main.proven = true
		h.manager.said = w.main.said
		h.log("%s serves; asking %s to stop", w.main, old)
		h.dismiss(old)
	case effectAdopt:
		w.main, w.next = w.next, nil
		if w.main != nil { // else it is still to be started
			w.main.proven = w.main.ready
			h.manager.said = w.main.said
		}
	case effectKillNext:
		w.next = w.discard(w.next)
	case effectKillMain:
		w.main = w.discard(w.main)
	case effectBackoff:
		d := w.backoff.next(w.lived)
		h.log("worker %d: %s; starting it again in %v", w.index+1, w.why(), d.Round(time.Millisecond))
		w.wait(d, eventRetry)
	case effectCancel:
		if w.timer != nil {
			w.timer.Stop()
			w.timer = nil
		}
	case effectServing:
		w.served, w.main.proven = true, true
		h.manager.serving()
		h.log("%s serves", w.main)
		h.settleMemory()
	case effectUpgraded:
		h.soon(func() { h.workerUpgraded(w, nil) })
	case effectFailed:
		cause := w.cause
		h.soon(func() { h.workerUpgraded(w, cause) })
	case effectStopAll:
		for _, c := range []*process{w.next, w.main} {
			if c != nil {
				h.dismiss(c)
			}
		}
		w.next = nil
	case effectEnded:
		h.soon(func() { h.workerEnded(w) })
	}
}

// why is what the last copy ended with.
func (w *worker) why() string {
	if w.cause == nil {
		return "the program has ended with exit status 0"
	}
	return w.cause.Error()
}

// wait makes e happen after d.
func (w *worker) wait(d time.Duration, e event) {
	var timer *time.Timer
	timer = w.holder.after(d, func() {
		if w.timer == timer {
			w.timer = nil
			w.handle(e)
		}
	})
	w.timer = timer
}

// workerEnded is when a worker starts nothing any more.
func (h *Holder) workerEnded(w *worker) {
	if h.stopping {
		return
	}
	if w.cause != nil {
		// The others would hide that one is missing.
		h.fail(w.cause)
		return
	}
	for _, o := range h.workers {
		if o.machine.phase != phaseEnded {
			h.log("worker %d has ended with exit status 0; others go on", w.index+1)
			return
		}
	}
	h.log("the program has ended with exit status 0")
	h.stop()
}
