package handoff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// Errors about state.
var (
	// ErrNoState: nobody has state of this name for this generation: it is the first,
	// or its predecessor is another program or an older version, or has handed over
	// or died already.
	ErrNoState = errors.New("handoff: there is no state of this name")
	// ErrStateLost: the predecessor was asked, and its state could not be had. If it
	// lives, this upgrade fails.
	ErrStateLost = errors.New("handoff: the state could not be handed over")
	// ErrStateRefused is the cause of an [UpgradeError] when the successor has refused
	// state; the text has its reason.
	ErrStateRefused = errors.New("the successor refused the state")
)

// Provide offers state to successors under a name: what they gain from having
// before they serve, and what may be a moment old, such as a warm cache. write is
// called when a successor asks by [Upgrader.State], while this generation goes on
// to serve, in a goroutine of its own and never twice at a time. w is buffered;
// what is written goes to memory that the kernel keeps for the successor (a sealed
// memfd on Linux, elsewhere an unlinked file of mode 0600 in os.TempDir), not to
// this process's own, and may be gigabytes. version is the program's own, and told
// to the successor.
//
// An error of write or of writing, or a panic, fails the upgrade: its
// [UpgradeError] has the phase "state" and that cause. Once the upgrade is over,
// w returns an error. The time counts as the successor's, see
// Options.ReadyTimeout. It is an error to provide a name twice.
func (u *Upgrader) Provide(name string, version int, write func(w io.Writer) error) error {
	return u.provide(&provision{name: name, version: version, write: write, busy: make(chan struct{}, 1)}, false)
}

// ProvideLast offers state that has to be exact, such as the next free number: it is
// written as this generation's last word. write is called, as it is for
// [Upgrader.Provide], at the end of the probation, when this generation accepts no
// more and the successor is well, just before the hand-over is made final. It has
// to bring what changes the state to a halt first, since from then on the successor
// has it; the connections that this generation still has are write's to halt too.
// Nothing is written for a successor that is another program.
//
// If the hand-over is made final, Draining is closed next. If not (an error of write,
// of writing, of the successor's [Upgrader.TakeLast]; the successor's death), this
// generation goes on to serve, and undo is called once, after write has returned,
// to end the halt. undo may be nil. Neither is called when the service stops
// meanwhile: Draining is closed then too. All last words together, with the time that
// the successor takes for them, may take Options.ReadyTimeout.
func (u *Upgrader) ProvideLast(name string, version int, write func(w io.Writer) error, undo func()) error {
	return u.provide(&provision{name: name, version: version, write: write, undo: undo, busy: make(chan struct{}, 1)}, true)
}

// State asks the predecessor for what it gives by [Upgrader.Provide] under this
// name, and waits for it. Call it before [Upgrader.Ready]: it works until the
// predecessor has handed over. The caller closes the result. Each call
// has the state written anew.
//
// [ErrNoState] says that there is nothing to be had, as always in a first
// generation. [ErrStateLost] says that the predecessor has died, or failed to write
// it; then it fails the upgrade. [ErrStopping] says that this generation is to
// stop, and the context's error that the wait was given up.
func (u *Upgrader) State(ctx context.Context, name string) (*NamedState, error) {
	if err := checkName(name); err != nil {
		return nil, fmt.Errorf("handoff: state: %w", err)
	}
	return u.askState(ctx, name)
}

// TakeLast has take called with what the predecessor gives by [Upgrader.ProvideLast]
// under this name. Call it before [Upgrader.Ready]; there may be none to come, and
// take is not called then. The predecessor waits until take has returned, and hands
// over after that; if take returns an error, the upgrade fails with [ErrStateRefused].
// take runs in a goroutine of its own. The NamedState is closed when it returns.
//
// This generation accepts already when take is called, so what needs the state has
// to wait for it: until it has come, or until [Upgrader.Settled] says that there is
// none. The upgrade may still fail after take; this process gets a stop signal then.
func (u *Upgrader) TakeLast(name string, take func(*NamedState) error) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("handoff: take state: %w", err)
	}
	if take == nil {
		return fmt.Errorf("handoff: take state %q: nothing to take it is given", name)
	}
	u.states.mu.Lock()
	defer u.states.mu.Unlock()
	if u.states.takers == nil {
		u.states.takers = make(map[string]func(*NamedState) error)
	}
	if u.states.takers[name] != nil {
		return fmt.Errorf("handoff: take state %q: it is taken already", name)
	}
	u.states.takers[name] = take
	return nil
}

// NamedState is what a predecessor has given. Its bytes are not in this process's
// memory until they are read.
type NamedState struct {
	// Name and Version are the predecessor's words.
	Name    string
	Version int

	file   *os.File
	size   int64
	offset int64
	refuse func(error)
}

// Size returns how many bytes there are.
func (s *NamedState) Size() int64 { return s.size }

// Read reads on, from the beginning at first. Fewer bytes than Size are
// [io.ErrUnexpectedEOF].
func (s *NamedState) Read(p []byte) (int, error) {
	n, err := s.ReadAt(p, s.offset)
	s.offset += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// ReadAt reads at an offset; see [io.ReaderAt].
func (s *NamedState) ReadAt(p []byte, offset int64) (int, error) {
	left := s.size - offset
	switch {
	case offset < 0:
		return 0, fmt.Errorf("handoff: state %q: offset %d is negative", s.Name, offset)
	case len(p) == 0:
		return 0, nil
	case left <= 0:
		return 0, io.EOF
	}
	cut := int64(len(p)) >= left
	if cut {
		p = p[:left]
	}
	n, err := s.file.ReadAt(p, offset)
	switch {
	case err == io.EOF && n < len(p):
		return n, fmt.Errorf("handoff: state %q: %d bytes of %d: %w", s.Name, offset+int64(n), s.size, io.ErrUnexpectedEOF)
	case err != nil && err != io.EOF:
		return n, fmt.Errorf("handoff: state %q: %w", s.Name, err)
	case cut:
		return n, io.EOF
	}
	return n, nil
}

// Refuse says that this program can't go on from the state, a version that it doesn't
// know for example, and fails the upgrade with [ErrStateRefused] and the reason. It
// returns an error with the reason for the program to end with. In TakeLast's
// function it is enough to return an error.
func (s *NamedState) Refuse(reason error) error {
	if reason == nil {
		reason = errors.New("no reason given")
	}
	s.refuse(reason)
	return fmt.Errorf("handoff: state %q, version %d: %w", s.Name, s.Version, reason)
}

// Close releases the state.
func (s *NamedState) Close() error { return s.file.Close() }

// states is what a generation gives and takes.
type states struct {
	mu     sync.Mutex
	given  map[string]*provision
	last   []*provision // in the order in which they were provided
	takers map[string]func(*NamedState) error
	taking int // last words that are being taken
	next   uint64
	words  map[uint64]chan<- string // verdicts on last words that are waited for
}

func (u *Upgrader) provide(p *provision, last bool) error {
	if err := checkName(p.name); err != nil {
		return fmt.Errorf("handoff: provide state: %w", err)
	}
	if p.write == nil {
		return fmt.Errorf("handoff: provide state %q: nothing to write it is given", p.name)
	}
	s := &u.states
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.given[p.name] != nil
	for _, other := range s.last {
		known = known || other.name == p.name
	}
	if known {
		return fmt.Errorf("handoff: provide state %q: it is provided already", p.name)
	}
	if last {
		s.last = append(s.last, p)
		return nil
	}
	if s.given == nil {
		s.given = make(map[string]*provision)
	}
	s.given[p.name] = p
	return nil
}
