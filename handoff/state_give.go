package handoff

import (
	"errors"
	"fmt"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

// stateFault is the failure of an upgrade for its state.
type stateFault struct {
	name string
	err  error
}

func (f *stateFault) Error() string {
	if f.name == "" {
		return f.err.Error()
	}
	return fmt.Sprintf("state %q: %v", f.name, f.err)
}

func (f *stateFault) Unwrap() error { return f.err }

func isStateFault(err error) bool {
	var f *stateFault
	return errors.As(err, &f)
}

// failState fails the upgrade to s, if it isn't over.
func (u *Upgrader) failState(s *successor, name string, err error) {
	u.post(occurrence{event: eventSuccessorFailed, cause: &stateFault{name, err}, from: s})
}

// hearState takes a message of the successor if it is about state.
func (u *Upgrader) hearState(s *successor, m link.Message) bool {
	switch m.Kind {
	case link.KindAsk:
		var ask link.Ask
		if m.Decode(&ask) == nil {
			go u.answerAsk(s, ask)
		}
	case link.KindState:
		var v link.Verdict
		switch {
		case m.Decode(&v) != nil:
		case v.ID != 0:
			u.states.judge(v)
		default:
			u.failState(s, v.Name, fmt.Errorf("%w: %s", ErrStateRefused, v.Fault))
		}
	case link.KindMoved:
		var moved link.Moved
		switch {
		case m.Decode(&moved) != nil:
		case moved.Again:
			s.porter.sendAgain(moved.ID)
		case moved.Taken:
			s.porter.settle(moved.ID, 1)
		default:
			s.porter.settle(moved.ID, 0)
		}
	default:
		return false
	}
	m.Close()
	return true
}

// answerAsk gives the successor the state that it asks for.
func (u *Upgrader) answerAsk(s *successor, ask link.Ask) {
	var p *provision
	if !u.inLoop(func() {
		if phase := u.machine.phase; s == u.successor && (phase == phaseUpgrading || phase == phaseProbation) {
			u.states.mu.Lock()
			p = u.states.given[ask.Name]
			u.states.mu.Unlock()
		}
	}) {
		return
	}
	answer := link.State{ID: ask.ID, Name: ask.Name}
	if p == nil {
		answer.None = true
		if err := s.link.Send(linkWait, link.KindState, answer); err != nil {
			u.log.Debug("answering a question for state", "name", ask.Name, "error", err)
		}
		return
	}
	began := time.Now()
	file, size, err := p.file(s.ended)
	if err == nil {
		answer.Version, answer.Size = p.version, size
		err = s.link.Send(linkWait, link.KindState, answer, file)
		file.Close()
	}
	switch {
	case err == nil:
		u.log.Info("gave state to the successor", "name", p.name, "version", p.version, "bytes", size, "took", time.Since(began))
	case errors.Is(err, errGivenUp):
	default:
		u.failState(s, p.name, err)
		answer.Fault = oneLine(err)
		_ = s.link.Send(linkWait, link.KindState, answer) // it is about to be ended anyway
	}
}

// concludeProbation has the last word, and then the probation is over.
func (u *Upgrader) concludeProbation(s *successor) {
	u.states.mu.Lock()
	last := u.states.last
	u.states.mu.Unlock()
	if len(last) == 0 || !s.stateful {
		u.handle(occurrence{event: eventProbationOver, from: s})
		return
	}
	u.startClock(u.opts.ReadyTimeout, func() {
		cause := fmt.Errorf("the last word took longer than Options.ReadyTimeout: %w", ErrTimeout)
		u.handle(occurrence{event: eventSuccessorFailed, cause: &stateFault{err: cause}, from: s})
	})
	u.step("state")
	s.recalled = make(chan struct{})
	recalled := s.recalled
	go func() {
		for _, p := range last {
			switch err := u.giveLast(s, p, recalled); {
			case errors.Is(err, errGivenUp):
				return
			case err != nil:
				u.failState(s, p.name, err)
				return
			}
		}
		u.post(occurrence{event: eventProbationOver, from: s})
	}()
}

// giveLast gives one last word to the successor, and waits for what it says.
func (u *Upgrader) giveLast(s *successor, p *provision, recalled <-chan struct{}) error {
	began := time.Now()
	file, size, err := p.file(s.ended, recalled)
	if err != nil {
		return err
	}
	defer file.Close()
	id, verdict := u.states.expect()
	defer u.states.forget(id)
	word := link.State{ID: id, Name: p.name, Version: p.version, Size: size, Last: true}
	if err := s.link.Send(linkWait, link.KindState, word, file); err != nil {
		return err
	}
	select {
	case fault := <-verdict:
		if fault != "" {
			return fmt.Errorf("%w: %s", ErrStateRefused, fault)
		}
	case <-s.ended:
		return errGivenUp
	case <-recalled:
		return errGivenUp
	}
	u.log.Info("gave the last word to the successor", "name", p.name, "version", p.version, "bytes", size, "took", time.Since(began))
	return nil
}

// takeBack is when this generation goes on to serve: its last words count for
// nothing.
func (u *Upgrader) takeBack(s *successor) {
	if s == nil || s.recalled == nil {
		return
	}
	close(s.recalled)
	s.recalled = nil
	u.states.mu.Lock()
	defer u.states.mu.Unlock()
	for _, p := range u.states.last {
		go p.takeBack()
	}
}

// takeBack waits for a write that is under way. One that comes later finds that the
// upgrade is over.
func (p *provision) takeBack() {
	p.lock()
	defer p.unlock()
	if begun := p.begun; begun && p.undo != nil {
		p.undo()
	}
	p.begun = false
}

// expect returns the number of a last word, and what the successor says of it.
func (s *states) expect() (id uint64, verdict <-chan string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	c := make(chan string, 1)
	if s.words == nil {
		s.words = make(map[uint64]chan<- string)
	}
	s.words[s.next] = c
	return s.next, c
}

func (s *states) forget(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.words, id)
}

func (s *states) judge(v link.Verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.words[v.ID]; c != nil {
		c <- v.Fault
		delete(s.words, v.ID)
	}
}

// inLoop runs something in the goroutine of loop, and waits for it. false says that
// the loop is over.
func (u *Upgrader) inLoop(do func()) bool {
	ran := make(chan struct{})
	if !u.post(occurrence{run: func() { do(); close(ran) }}) {
		return false
	}
	select {
	case <-ran:
		return true
	case <-u.done:
		return false
	}
}
