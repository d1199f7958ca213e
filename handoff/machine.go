package handoff

import "fmt"

// machine is the life of a generation without any of its effects: events go in,
// what is to be done comes out. The Upgrader's one goroutine drives it, so it
// needs no lock; and it can be driven through every order of events by a test.
//
// The invariant that the transitions keep: from the first ready on, at every
// instant some living process has the listeners open and is accepting, or will
// be, with no action needed from outside.
type machine struct {
	phase phase
	// awaiting: a living predecessor has not committed to this generation yet.
	// It, not we, is the main generation.
	awaiting bool
	// wanted: a signal asked for an upgrade that could not begin yet.
	wanted bool
	// cause: why the successor is being ended; in phaseAborting.
	cause error
	// spare: this generation drains and has kept its sockets, to start another main
	// generation should the present one die; see Options.Readopt.
	spare bool
}

type phase int

const (
	phaseStarting  phase = iota // until the program says that it is ready
	phaseServing                // accepting, alone or beside a predecessor that drains
	phaseUpgrading              // accepting; a successor was started and isn't ready
	phaseProbation              // the successor accepts, we hold the listeners open
	phaseAborting               // accepting again; the failed successor is ending
	phaseDraining               // the successor has taken over
	phaseStopping               // the service ends with us
	phaseReviving               // draining; the main generation has died, and we have started another
)

func (p phase) String() string {
	return [...]string{"starting", "serving", "upgrading", "probation", "aborting", "draining", "stopping", "reviving"}[p]
}

// event is something that happened.
type event int

const (
	eventReady           event = iota // the program says that it is ready
	eventCommitted                    // the predecessor has committed to us
	eventOrphaned                     // the predecessor has died without
	eventUpgrade                      // a call of Upgrade
	eventSignal                       // an upgrade signal
	eventSuccessorReady               // the successor is ready
	eventSuccessorFailed              // it could not be started, took too long, or failed its probation; it may be alive
	eventSuccessorGone                // its process has ended
	eventProbationOver                // it has lived through its probation
	eventStop                         // a stop signal, or a call of Stop
	eventDeserted                     // the main generation has died, with us as its heir
	eventReleased                     // it needs us no more: it stops, has another heir, or we are done
)

// action is something to do.
type action int

const (
	actOpen      action = iota // let the listeners accept
	actSayReady                // READY=1 to whoever started us
	actBecome                  // be the main generation from now on
	actStart                   // start a successor
	actPause                   // listeners stay open and accept no more
	actResume                  // they accept again
	actProbation               // start the probation's clock
	actCommit                  // the point of no return: hand over
	actEnd                     // end the successor, by force if need be
	actDismiss                 // ask the successor, which may have connections, to stop
	actSucceed                 // the upgrade that was asked for is done
	actFail                    // it has failed
	actRefuse                  // answer the event's caller with the error
	actForward                 // ask the newest generation to upgrade
	actDrain                   // close the listeners, let connections end
	actHurry                   // let them end soon
	actRevive                  // start a successor of our own version, with the sockets that were kept
	actForsake                 // that has come to nothing
	actRelease                 // close the sockets that were kept
)

// step is one action, with its error where it has one.
type step struct {
	do  action
	err error
}

func do(actions ...action) []step {
	steps := make([]step, len(actions))
	for i, a := range actions {
		steps[i] = step{do: a}
	}
	return steps
}

func refuse(err error) []step { return []step{{actRefuse, err}} }

// handle takes an event, with its cause where it is a failure, and returns what
// is to be done, in order.
func (m *machine) handle(e event, cause error) []step {
	switch e {
	case eventReady:
		return m.ready()
	case eventCommitted, eventOrphaned:
		return m.becomeMain()
	case eventUpgrade:
		return m.upgrade()
	case eventSignal:
		return m.signal()
	case eventSuccessorReady:
		switch m.phase {
		case phaseUpgrading:
			m.phase = phaseProbation
			return do(actPause, actProbation)
		case phaseReviving:
			return m.revived()
		}
	case eventProbationOver:
		if m.phase == phaseProbation {
			return m.commit()
		}
	case eventSuccessorFailed:
		if m.phase == phaseUpgrading || m.phase == phaseProbation {
			return m.abort(cause)
		}
		if m.phase == phaseReviving {
			return append(do(actEnd), m.forsake(cause)...)
		}
	case eventSuccessorGone:
		return m.gone(cause)
	case eventStop:
		return m.stop()
	case eventDeserted:
		if m.spare {
			m.phase, m.spare = phaseReviving, false
			return do(actRevive)
		}
	case eventReleased:
		return m.release()
	}
	return nil
}

func (m *machine) ready() []step {
	switch m.phase {
	case phaseStarting:
	case phaseStopping:
		return refuse(ErrStopping)
	default:
		return nil // said before
	}
	m.phase = phaseServing
	if m.awaiting {
		return do(actOpen, actSayReady)
	}
	return append(do(actOpen, actBecome, actSayReady), m.next()...)
}

// becomeMain is when the predecessor stops to be the main generation.
func (m *machine) becomeMain() []step {
	if !m.awaiting {
		return nil
	}
	m.awaiting = false
	switch m.phase {
	case phaseServing:
		return append(do(actBecome), m.next()...)
	case phaseStopping:
		return do(actBecome) // the service ends with us after all
	}
	return nil // Ready will see to it
}

// next begins the upgrade that a signal has asked for in vain so far.
func (m *machine) next() []step {
	if !m.wanted {
		return nil
	}
	m.wanted = false
	m.phase = phaseUpgrading
	return do(actStart)
}

func (m *machine) upgrade() []step {
	switch m.phase {
	case phaseServing:
		if m.awaiting {
			return refuse(fmt.Errorf("%w: the predecessor has not committed yet", ErrNotReady))
		}
		m.phase = phaseUpgrading
		return do(actStart)
	case phaseStarting:
		return refuse(ErrNotReady)
	case phaseDraining, phaseReviving:
		return refuse(ErrHandedOver)
	case phaseStopping:
		return refuse(ErrStopping)
	}
	return refuse(ErrUpgradeInProgress)
}

func (m *machine) signal() []step {
	switch m.phase {
	case phaseDraining:
		return do(actForward)
	case phaseStopping:
		return nil
	}
	m.wanted = true
	if m.phase == phaseServing && !m.awaiting {
		return m.next()
	}
	return nil
}

func (m *machine) commit() []step {
	m.phase = phaseDraining
	return append(do(actCommit, actSucceed, actDrain), m.passSignal()...)
}

// passSignal has the successor, which has just taken over, do the upgrade that a
// signal has asked for.
func (m *machine) passSignal() []step {
	if !m.wanted {
		return nil
	}
	m.wanted = false
	return do(actForward)
}

// revived is when the successor that was started in place of the dead one is ready.
// There is no probation: nobody else serves.
func (m *machine) revived() []step {
	m.phase = phaseDraining
	return append(do(actCommit, actRelease), m.passSignal()...)
}

// forsake gives the service up to its manager: there is one try.
func (m *machine) forsake(cause error) []step {
	m.phase, m.wanted = phaseDraining, false
	return []step{{actForsake, cause}, {actRelease, nil}}
}

func (m *machine) release() []step {
	if !m.spare {
		return nil
	}
	m.spare = false
	return do(actRelease)
}

func (m *machine) abort(cause error) []step {
	steps := do(actEnd)
	if m.phase == phaseProbation {
		// First of all: nobody else is accepting for sure.
		steps = do(actResume, actEnd)
	}
	m.phase, m.cause = phaseAborting, cause
	return steps
}

// gone is when the successor's process has ended.
func (m *machine) gone(cause error) []step {
	var steps []step
	switch m.phase {
	case phaseUpgrading:
	case phaseProbation:
		steps = do(actResume)
	case phaseAborting:
		cause = m.cause
	case phaseReviving:
		return m.forsake(cause)
	default:
		return nil
	}
	m.phase, m.cause = phaseServing, nil
	steps = append(steps, step{actFail, cause})
	return append(steps, m.next()...)
}

func (m *machine) stop() []step {
	was := m.phase
	switch was {
	case phaseDraining, phaseStopping:
		return append(m.release(), step{do: actHurry})
	case phaseReviving:
		return append(append(do(actEnd), m.forsake(ErrStopping)...), step{do: actHurry})
	}
	m.phase, m.wanted = phaseStopping, false
	switch was {
	case phaseUpgrading, phaseAborting:
		return []step{{actFail, ErrStopping}, {actEnd, nil}, {actDrain, nil}}
	case phaseProbation:
		// It has connections by now, and ends them as we do ours.
		return []step{{actFail, ErrStopping}, {actDismiss, nil}, {actDrain, nil}}
	}
	return do(actDrain)
}
