package supervise

// phase is where a worker is.
type phase int

const (
	phaseIdle      phase = iota // nothing was started yet
	phaseStarting               // one copy, which is not ready; no other serves
	phaseServing                // one copy serves
	phaseUpgrading              // one serves, another starts
	phaseProbation              // both serve
	phaseBackoff                // none runs, until a while has passed
	phaseEnded                  // nothing is started any more
)

var phaseNames = [...]string{"idle", "starting", "serving", "upgrading", "probation", "backoff", "ended"}

func (p phase) String() string { return phaseNames[p] }

// event is what happens to a worker. Of its copies it knows the main one, which serves
// or is the only one, and the next one, which is to replace it.
type event int

const (
	eventStart    event = iota
	eventReady          // the copy that starts is ready
	eventGiveUp         // the copy that starts couldn't be started, or isn't ready in time
	eventGone           // the main copy has ended
	eventNextGone       // the next copy has ended
	eventProven         // the probation is over
	eventRetry          // the wait before a new start is over
	eventUpgrade
	eventAbort // the upgrade is to be given up
	eventStop
)

var eventNames = [...]string{"start", "ready", "give up", "gone", "next gone", "proven", "retry", "upgrade", "abort", "stop"}

func (e event) String() string { return eventNames[e] }

// effect is what has to be done about an event.
type effect int

const (
	effectLaunch    effect = iota // start a copy: the next one if there is a main one, else that
	effectProbation               // begin the probation's time
	effectReplace                 // ask the main copy to stop; the next one is the main one
	effectAdopt                   // the main copy has ended; the next one is the main one
	effectKillNext                // the next copy has failed
	effectKillMain                // likewise, where it is the only one
	effectBackoff                 // wait for a while
	effectCancel                  // what was waited for, the probation's end or a new start, is not to come
	effectServing                 // there is a copy that serves, where there was none
	effectUpgraded
	effectFailed  // the upgrade
	effectStopAll // ask all copies to stop
	effectEnded   // the worker starts nothing any more
)

var effectNames = [...]string{"launch", "probation", "replace", "adopt", "kill next", "kill main", "backoff", "cancel",
	"serving", "upgraded", "failed", "stop all", "ended"}

func (e effect) String() string { return effectNames[e] }

// machine decides for one worker what follows from what happens. It does nothing
// itself, and knows no time and no process.
type machine struct {
	phase phase
	// upgrade: somebody waits to hear how it went.
	upgrade bool
	// pending: an upgrade was asked for while the only copy was not ready yet.
	pending bool
}

// step takes an event. again tells whether a copy that has ended is to be followed by
// another. Events that come too late, for a timer may fire when it is being stopped,
// have no effect.
func (m *machine) step(e event, again bool) []effect {
	if e == eventStop && m.phase != phaseEnded {
		m.phase = phaseEnded
		return append(m.settle(effectFailed), effectCancel, effectStopAll, effectEnded)
	}
	switch m.phase {
	case phaseIdle:
		if e == eventStart {
			return m.launch()
		}
	case phaseStarting:
		return m.starting(e, again)
	case phaseServing:
		switch e {
		case eventGone:
			return m.gone(again)
		case eventUpgrade:
			m.upgrade, m.phase = true, phaseUpgrading
			return []effect{effectLaunch}
		}
	case phaseUpgrading:
		return m.upgrading(e)
	case phaseProbation:
		return m.probation(e)
	case phaseBackoff:
		switch e {
		case eventRetry:
			return m.launch()
		case eventUpgrade:
			m.upgrade = true
			return append([]effect{effectCancel}, m.launch()...)
		}
	}
	return nil
}

func (m *machine) launch() []effect {
	m.phase = phaseStarting
	return []effect{effectLaunch}
}

// settle says how an upgrade went, if there is one.
func (m *machine) settle(how effect) []effect {
	if !m.upgrade {
		return nil
	}
	m.upgrade = false
	return []effect{how}
}

// gone is when no copy is left.
func (m *machine) gone(again bool) []effect {
	if !again {
		m.phase = phaseEnded
		return []effect{effectEnded}
	}
	m.phase = phaseBackoff
	return []effect{effectBackoff}
}

func (m *machine) starting(e event, again bool) (effects []effect) {
	switch e {
	case eventUpgrade:
		m.pending = true
	case eventAbort:
		m.upgrade, m.pending = m.upgrade || m.pending, false
		return m.settle(effectFailed)
	case eventReady:
		m.phase = phaseServing
		effects = append([]effect{effectServing}, m.settle(effectUpgraded)...)
		if m.pending {
			m.pending = false
			effects = append(effects, m.step(eventUpgrade, false)...)
		}
	case eventGone, eventGiveUp:
		if e == eventGiveUp {
			effects = append(effects, effectKillMain)
		}
		effects = append(effects, m.settle(effectFailed)...)
		if m.pending {
			// What is on disk now may be what was waited for.
			m.pending, m.upgrade = false, true
			return append(effects, m.launch()...)
		}
		return append(effects, m.gone(again)...)
	}
	return effects
}

func (m *machine) upgrading(e event) []effect {
	switch e {
	case eventReady:
		m.phase = phaseProbation
		return []effect{effectProbation}
	case eventGiveUp, eventAbort:
		m.phase = phaseServing
		return append([]effect{effectKillNext}, m.settle(effectFailed)...)
	case eventNextGone:
		m.phase = phaseServing
		return m.settle(effectFailed)
	case eventGone:
		m.phase = phaseStarting // how the upgrade went shows when that is over
		return []effect{effectAdopt}
	}
	return nil
}

func (m *machine) probation(e event) []effect {
	switch e {
	case eventProven:
		m.phase = phaseServing
		return append([]effect{effectReplace}, m.settle(effectUpgraded)...)
	case eventAbort:
		m.phase = phaseServing
		return append([]effect{effectCancel, effectKillNext}, m.settle(effectFailed)...)
	case eventNextGone:
		m.phase = phaseServing
		return append([]effect{effectCancel}, m.settle(effectFailed)...)
	case eventGone:
		m.phase = phaseServing
		return append([]effect{effectCancel, effectAdopt}, m.settle(effectUpgraded)...)
	}
	return nil
}
