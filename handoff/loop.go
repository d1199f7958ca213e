package handoff

import (
	"os"
	"slices"
	"time"
)

// loop is the one goroutine that owns the state of the Upgrader.
func (u *Upgrader) loop() {
	defer close(u.looped)
	for {
		select {
		case o := <-u.events:
			if o.run != nil {
				o.run()
				continue
			}
			if o.from != nil && o.from != u.successor {
				continue // one that is gone
			}
			u.handle(o)
		case s := <-u.signals:
			u.signal(s)
		case <-u.done:
			return
		}
	}
}

func (u *Upgrader) signal(s os.Signal) {
	if slices.Contains(u.opts.StopSignals, s) {
		u.log.Info("stop signal", "signal", s.String(), "phase", u.machine.phase.String())
		u.handle(occurrence{event: eventStop})
		return
	}
	u.log.Info("upgrade signal", "signal", s.String(), "phase", u.machine.phase.String())
	u.handle(occurrence{event: eventSignal})
}

// handle lets the machine take an event, and does what it says.
func (u *Upgrader) handle(o occurrence) {
	if err := u.prepare(&o); err != nil {
		o.answer <- err
		return
	}
	was := u.machine.phase
	steps := u.machine.handle(o.event, o.cause)
	if u.machine.phase != was {
		u.log.Debug("phase", "from", was.String(), "to", u.machine.phase.String())
	}
	if o.event == eventUpgrade && u.machine.phase == phaseUpgrading && was == phaseServing {
		u.answer, o.answer = o.answer, nil
	}
	for _, s := range steps {
		if s.do == actRefuse {
			o.answer <- s.err
			return
		}
		u.perform(s)
	}
	if o.answer != nil {
		o.answer <- nil
	}
}

// prepare does what has to succeed before an event may take place.
func (u *Upgrader) prepare(o *occurrence) error {
	if u.opts.PIDFile == "" {
		return nil
	}
	switch o.event {
	case eventReady:
		if u.machine.phase == phaseStarting && !u.machine.awaiting {
			return writePIDFile(u.opts.PIDFile, os.Getpid())
		}
	case eventProbationOver:
		if u.machine.phase != phaseProbation {
			return nil
		}
		if err := writePIDFile(u.opts.PIDFile, u.successor.pid); err != nil {
			// The old file is still there: roll back.
			o.event, o.cause = eventSuccessorFailed, err
		}
	}
	return nil
}

func (u *Upgrader) perform(s step) {
	switch s.do {
	case actOpen:
		u.setGates(gateOpen)
		u.closeUntaken()
	case actSayReady:
		u.sayReady()
	case actBecome:
		u.become()
	case actStart:
		u.start()
	case actPause:
		u.stopClock()
		u.setGates(gatePaused)
	case actResume:
		u.stopClock()
		u.setGates(gateOpen)
	case actProbation:
		u.log.Info("successor is ready", "pid", u.successor.pid)
		u.startClock(u.opts.Probation, eventProbationOver, nil)
	case actCommit:
		u.commit()
	case actEnd:
		u.stopClock()
		u.successor.terminate(u.machine.phase == phaseStopping)
	case actDismiss:
		u.stopClock()
		u.successor.dismiss()
	case actSucceed:
		u.log.Info("upgraded", "successor", u.successor.pid)
		u.reply(nil)
	case actFail:
		u.fail(s.err)
	case actForward:
		u.forward()
	case actDrain:
		u.drain()
	case actHurry:
		u.hasten()
	}
}

// startClock sets the one clock: there is never more than one thing to wait for.
func (u *Upgrader) startClock(d time.Duration, e event, cause error) {
	u.stopClock()
	o := occurrence{event: e, cause: cause, from: u.successor}
	if d == 0 {
		u.handle(o)
		return
	}
	var clock *time.Timer
	clock = time.AfterFunc(d, func() {
		u.post(occurrence{run: func() {
			if u.clock == clock { // not stopped meanwhile
				u.clock = nil
				u.handle(o)
			}
		}})
	})
	u.clock = clock
}

func (u *Upgrader) stopClock() {
	if u.clock != nil {
		u.clock.Stop()
		u.clock = nil
	}
}

func (u *Upgrader) reply(err error) {
	if u.answer != nil {
		u.answer <- err
		u.answer = nil
	}
}

// fail tells of an upgrade that came to nothing.
func (u *Upgrader) fail(cause error) {
	u.stopClock()
	err := cause
	if s := u.successor; s != nil && cause != ErrStopping {
		err = s.explain(cause)
	}
	u.log.Error("upgrade failed", "error", err)
	u.reply(err)
	if u.machine.phase == phaseServing {
		u.successor = nil
	}
}

// closeUntaken closes what was passed to this process and nobody wants.
func (u *Upgrader) closeUntaken() {
	for e := range u.inherited.All() {
		u.log.Warn("closing an inherited descriptor that the program did not take", "descriptor", e.String())
		if e.Index < len(u.origins) {
			u.family.abandoned = append(u.family.abandoned, u.origins[e.Index])
		}
	}
	if err := u.inherited.Close(); err != nil {
		u.log.Warn("closing inherited descriptors", "error", err)
	}
}

// drain begins the end of this generation.
func (u *Upgrader) drain() {
	why := ErrStopping
	if u.machine.phase == phaseDraining {
		why = ErrHandedOver
	}
	u.mu.Lock()
	last := u.main && why == ErrStopping
	u.mu.Unlock()
	if last {
		u.tellManager(Stopping)
	}
	// First, so that who sees a listener closed can see why.
	close(u.draining)
	u.endShared(why, last)
}

// hasten shortens the drain: at first to a few seconds, then to nothing.
func (u *Upgrader) hasten() {
	select {
	case <-u.hurry:
		closeOnce(u.cut)
	default:
		close(u.hurry)
	}
}

// closeOnce closes a channel that only the calling goroutine closes.
func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}
