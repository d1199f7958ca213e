package handoff

import (
	"context"
	"fmt"
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
		u.wishStop(false)
		return
	}
	u.log.Info("upgrade signal", "signal", s.String(), "phase", u.machine.phase.String())
	u.handle(occurrence{event: eventSignal})
}

// wishStop is a wish to stop; called: by Stop.
func (u *Upgrader) wishStop(called bool) {
	if u.wish.repeats(time.Now(), called) {
		u.log.Debug("told to stop by one more way")
		return
	}
	u.handle(occurrence{event: eventStop})
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
		u.enterPhase()
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
	u.checkRevival()
}

// prepare does what has to succeed before an event may take place.
func (u *Upgrader) prepare(o *occurrence) error {
	switch o.event {
	case eventReady:
		if u.machine.phase == phaseStarting && !u.machine.awaiting {
			return u.namePID(os.Getpid())
		}
	case eventProbationOver:
		if u.machine.phase != phaseProbation {
			return nil
		}
		u.step("commit")
		u.foretellHistory()
		if err := u.appoint(); err != nil {
			o.event, o.cause = eventSuccessorFailed, err // roll back
		}
	case eventSuccessorReady:
		if u.machine.phase != phaseReviving {
			return nil
		}
		if err := u.appointRevived(); err != nil {
			o.event, o.cause = eventSuccessorFailed, err
		}
	}
	return nil
}

// namePID has the PID file, if there is one, name the main generation. After an
// error it is as it was.
func (u *Upgrader) namePID(pid int) error {
	if u.opts.PIDFile == "" {
		return nil
	}
	return writePIDFile(u.opts.PIDFile, pid)
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
		u.takeBack(u.successor)
	case actProbation:
		u.startProbation()
	case actCommit:
		u.commit()
	case actEnd:
		u.stopClock()
		u.successor.terminate()
	case actDismiss:
		u.stopClock()
		u.successor.dismiss()
	case actSucceed:
		u.log.Info("upgraded", "successor", u.successor.pid)
		u.conclude(nil)
		u.tellHistory()
		u.leaveControl()
		u.reply(nil)
	case actFail:
		u.fail(s.err)
	case actForward:
		u.forward()
	case actDrain:
		u.drain()
	case actHurry:
		u.hasten()
	case actRevive:
		u.revive()
	case actForsake:
		u.forsake(s.err)
	case actRelease:
		u.releaseSpare()
	}
}

// startClock has something done after a time. There is one clock, for there is
// never more than one thing to wait for.
func (u *Upgrader) startClock(d time.Duration, then func()) {
	u.stopClock()
	if d == 0 {
		then()
		return
	}
	var clock *time.Timer
	clock = time.AfterFunc(d, func() {
		u.post(occurrence{run: func() {
			if u.clock == clock { // not stopped meanwhile
				u.clock = nil
				then()
			}
		}})
	})
	u.clock = clock
}

// awaitReady gives the successor d to be ready.
func (u *Upgrader) awaitReady(d time.Duration) {
	u.startClock(d, func() {
		u.handle(occurrence{event: eventSuccessorFailed, cause: u.successor.late(), from: u.successor})
	})
}

// startProbation ends when its time is over, this generation accepts no more for sure,
// and the health check, if there is one, has found the successor well.
func (u *Upgrader) startProbation() {
	s := u.successor
	u.log.Info("successor is ready", "successor", s.pid)
	waits := 2
	over := func() {
		if waits--; waits == 0 {
			u.concludeProbation(s)
		}
	}
	if u.opts.HealthCheck != nil {
		waits++
		go u.checkHealth(s, over)
	}
	go u.checkQuiet(s, over)
	u.startClock(u.opts.Probation, over)
}

// quietWait is how long an accept that was under way when the listeners were paused may
// take to end: it ends at once, but for a machine that has something else to do.
const quietWait = 5 * time.Second

// checkQuiet has the commit wait until nobody who connects after it is accepted here.
func (u *Upgrader) checkQuiet(s *successor, quiet func()) {
	ctx, cancel := context.WithTimeout(context.Background(), quietWait)
	defer cancel()
	u.awaitQuiet(ctx)
	u.post(occurrence{run: func() {
		if s == u.successor && u.machine.phase == phaseProbation {
			quiet()
		}
	}})
}

func (u *Upgrader) checkHealth(s *successor, well func()) {
	ctx, cancel := context.WithTimeout(context.Background(), u.opts.ReadyTimeout)
	defer cancel()
	u.awaitQuiet(ctx)
	err := u.opts.HealthCheck(ctx)
	u.post(occurrence{run: func() {
		switch {
		case s != u.successor || u.machine.phase != phaseProbation:
		case err != nil:
			u.handle(occurrence{event: eventSuccessorFailed, cause: fmt.Errorf("the health check failed: %w", err), from: s})
		default:
			well()
		}
	}})
}

// awaitQuiet waits until this generation accepts no more for sure, so that a request
// reaches the successor.
func (u *Upgrader) awaitQuiet(ctx context.Context) {
	u.mu.Lock()
	var reading []<-chan struct{}
	for _, s := range u.shared {
		if s.gate != nil && !s.untilCommit {
			reading = append(reading, s.gate.quiet())
		}
	}
	u.mu.Unlock()
	for _, quiet := range reading {
		select {
		case <-quiet:
		case <-ctx.Done():
			return
		}
	}
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
	u.log.Error("upgrade failed", append([]any{"error", err}, printed(err)...)...)
	u.conclude(err)
	if u.machine.phase == phaseServing {
		u.tellManager(Ready, Status(fmt.Sprintf("Serving, generation %d; %s", u.generation, oneLine(err))))
		u.reclaim(u.successor)
		if u.successor.pid != 0 {
			u.successor.link.Close()
		}
		u.successor = nil
		u.appointHeir()
	}
	u.reply(err)
}

// closeUntaken closes what was passed to this process and nobody wants.
func (u *Upgrader) closeUntaken() {
	for e := range u.inherited.All() {
		u.log.Warn("closing an inherited descriptor that the program did not take", "descriptor", e.String())
		if e.Index < len(u.origins) && u.origins[e.Index].Ours {
			u.family.abandoned = append(u.family.abandoned, u.origins[e.Index])
			u.family.dropped = append(u.family.dropped, e.Name)
		}
	}
	if err := u.inherited.Close(); err != nil {
		u.log.Warn("closing inherited descriptors", "error", err)
	}
	u.closeOutlets()
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
		u.tellManager(Stopping, Status("Stopping"))
		for _, e := range u.family.elders {
			u.hurryElder(e)
		}
	} else if u.family.predecessor != nil {
		// It must not commit to us, and accepts again.
		u.tellPredecessor(Stopping)
	}
	u.machine.spare = why == ErrHandedOver && u.keepSpare()
	ended := u.endShared(why, last)
	if why == ErrStopping && !last {
		u.family.left = ended
	}
	close(u.draining) // which says that nothing is accepted any more
}

// hasten is a stop signal to a generation that is ending already: the first
// shortens the drain to a few seconds, the next to nothing.
func (u *Upgrader) hasten() {
	closeOnce(u.hurry)
	if u.hastened {
		closeOnce(u.cut)
	}
	u.hastened = true
}

// closeOnce closes a channel that only the calling goroutine closes.
func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}
