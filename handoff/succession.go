package handoff

import (
	"fmt"
	"os"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

// followSuccessor receives what the successor has to say, until it has ended.
func (u *Upgrader) followSuccessor(s *successor) {
	for {
		m, err := s.link.Receive()
		if err != nil {
			s.mover.end()
			s.porter.end()
			// Before the commit its process's end is what counts.
			u.post(occurrence{run: func() {
				u.unlinked(s)
				u.deserted(s)
			}})
			return
		}
		if m.Kind == link.KindStarted {
			s.noteRelay(m)
			continue
		}
		if m.Kind == link.KindTaken {
			var t link.Taken
			if m.Close(); m.Decode(&t) == nil {
				s.mover.settle(t.First, t.Taken)
			}
			continue
		}
		if u.hearState(s, m) {
			continue
		}
		u.post(occurrence{run: func() {
			defer m.Close()
			switch m.Kind {
			case link.KindHello:
				var hello link.Hello
				s.heir = m.Decode(&hello) == nil && hello.Heirs
				u.greeted(s, hello.PID)
			case link.KindHeir:
				var h link.Heir
				if m.Decode(&h) == nil {
					s.heir, s.newest = h.Heir, max(s.newest, h.Generation)
				}
				if !s.heir && s == u.successor && u.spare.decided != nil {
					u.handle(occurrence{event: eventReleased}) // the answer to Leaving
				}
			case link.KindHurry:
				// This is no signal's: under systemd that comes as well.
				if u.machine.phase == phaseDraining && s == u.successor {
					u.log.Info("told to hurry")
					closeOnce(u.hurry)
					u.handle(occurrence{event: eventReleased})
				}
			}
		}})
	}
}

// appoint tells all who have to know that the successor is the main generation.
// The successor is told last; if that finds it dead, all is taken back, and this
// generation goes on.
func (u *Upgrader) appoint() error {
	s := u.successor
	if err := u.namePID(s.pid); err != nil {
		return err
	}
	u.log.Debug("handing over", "successor", s.pid)
	u.endPings() // the manager would hear them from a process that isn't the main one any more
	status := Status(fmt.Sprintf("Serving, generation %d; generation %d (pid %d) drains", u.generation+1, u.generation, os.Getpid()))
	u.tellManager(append(s.asMain(), Ready, status)...)
	u.settle(s)
	if s.foreign && !s.hasEnded() {
		return nil // it took over when it was ready
	}
	err := s.link.Send(linkWait, link.KindCommit, struct{}{})
	switch {
	case err == nil:
		return nil
	case isDead(err) && s.linked, s.endsWithin(endLag):
	case !s.linked:
		return nil // of another making: it doesn't read this, and may have closed its end
	default:
		u.log.Error("telling the successor that it has taken over", "error", err)
		return nil
	}
	u.tellManager(MainPID(os.Getpid()))
	u.ping()
	if perr := u.namePID(os.Getpid()); perr != nil {
		u.log.Error("after the successor's death", "error", perr)
	}
	return fmt.Errorf("%w when it was to take over", ErrExited)
}

// commit is the point of no return: the successor knows.
func (u *Upgrader) commit() {
	u.stopClock()
	u.fallSilent()
	for _, e := range u.spare.elders { // in the place of a successor that has died
		u.introduce(e.Elder, e.end)
	}
	elders := u.family.elders
	u.family.elders, u.family.heir = nil, nil
	for _, e := range elders {
		u.passOn(e)
	}
	if u.successor.moves {
		u.mu.Lock()
		u.mover = u.successor.mover
		u.mu.Unlock()
	}
	if u.successor.stateful {
		u.mu.Lock()
		u.porter = u.successor.porter
		u.mu.Unlock()
	}
	go u.reportDrain(u.successor.link)
}

// takesAll tells whether s takes whatever an older generation may send to one of this
// release. What it said to its predecessor holds for itself alone.
func (s *successor) takesAll() bool { return s.moves && s.stateful }

// passOn hands the link to an older generation over to the successor, or ends it if
// that doesn't take what may come.
func (u *Upgrader) passOn(e *relative) {
	defer e.conn.Close()
	if e.process != nil {
		_ = e.process.Release()
	}
	end, err := e.conn.Detach()
	takes := u.successor.takesAll()
	u.sendBack(e, takes)
	if err != nil {
		u.log.Warn("introducing a draining generation to the successor", "older", e.PID, "error", err)
		return
	}
	if !takes {
		// The older one would send it connections, for this one took them, and wait for an
		// answer that never comes. The link's end gives them back to it.
		u.log.Info("the successor does not take what older generations move: they keep their connections", "older", e.PID)
		end.Close()
		return
	}
	if u.machine.phase != phaseReviving {
		u.introduce(e.Elder, end)
	}
	if u.readopts() {
		u.spare.elders = append(u.spare.elders, spareLink{e.Elder, end})
		return
	}
	end.Close()
}

// introduce sends the successor the link to an older generation.
func (u *Upgrader) introduce(e link.Elder, end *os.File) {
	if err := u.successor.link.Send(linkWait, link.KindElder, e, end); err != nil {
		u.log.Warn("introducing a draining generation to the successor", "older", e.PID, "error", err)
	}
}

// forward asks the newest generation to upgrade.
func (u *Upgrader) forward() {
	s := u.successor
	if s.doomed || s.ending {
		u.log.Warn("upgrade signal: there is no main generation") // see forsake
		return
	}
	if !s.linked {
		u.log.Warn("upgrade signal: the successor seems to be another program and has to be asked itself", "successor", s.pid)
	}
	if err := s.link.Send(linkWait, link.KindUpgrade, struct{}{}); err != nil {
		u.log.Warn("passing on an upgrade signal", "error", err)
	}
}
