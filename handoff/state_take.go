package handoff

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

// takesState comes with the READY=1 of a successor that takes last words and
// connections with state; see takesConnections.
const takesState State = confidential + "STATE=1"

// desk is where answers of a predecessor are waited for. A nil one has none.
type desk struct {
	mu    sync.Mutex
	next  uint64
	asked map[uint64]chan<- link.Message
	ended bool
}

func newDesk(predecessor link.Hello) *desk {
	if !predecessor.State {
		return nil
	}
	return &desk{asked: make(map[uint64]chan<- link.Message)}
}

// ask returns the number of a question and where its answer comes; nil if none
// can. A closed channel says that there will be none.
func (d *desk) ask() (id uint64, answer chan link.Message) {
	if d == nil {
		return 0, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return 0, nil
	}
	d.next++
	answer = make(chan link.Message, 1)
	d.asked[d.next] = answer
	return d.next, answer
}

// settle takes an answer.
func (d *desk) settle(id uint64, m link.Message) {
	if d == nil {
		m.Close()
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	answer := d.asked[id]
	if answer == nil {
		m.Close()
		return
	}
	delete(d.asked, id)
	answer <- m
}

// leave gives a question up.
func (d *desk) leave(id uint64, answer <-chan link.Message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.asked, id)
	select {
	case m := <-answer:
		m.Close()
	default:
	}
}

// end is when no answer can come any more.
func (d *desk) end() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	for id, answer := range d.asked {
		close(answer)
		delete(d.asked, id)
	}
}

func (u *Upgrader) askState(ctx context.Context, name string) (*NamedState, error) {
	none := fmt.Errorf("%w: %q", ErrNoState, name)
	var p *relative
	if !u.inLoop(func() { p = u.family.predecessor }) {
		return nil, ErrStopping
	}
	if p == nil {
		return nil, none
	}
	id, answer := p.desk.ask()
	if answer == nil {
		return nil, none
	}
	defer p.desk.leave(id, answer)
	if err := p.conn.Send(linkWait, link.KindAsk, link.Ask{ID: id, Name: name}); err != nil {
		return nil, stateLost(name, fmt.Errorf("asking the predecessor: %w", err))
	}
	select {
	case m, ok := <-answer:
		if !ok {
			return nil, stateLost(name, errors.New("the predecessor has died"))
		}
		return openState(p, name, m)
	case <-ctx.Done():
		return nil, fmt.Errorf("handoff: state %q: %w", name, context.Cause(ctx))
	case <-u.draining:
	case <-u.done:
	}
	return nil, ErrStopping
}

func stateLost(name string, why error) error {
	return fmt.Errorf("%w: %q: %w", ErrStateLost, name, why)
}

// openState makes a NamedState of what the predecessor has answered.
func openState(p *relative, name string, m link.Message) (*NamedState, error) {
	var body link.State
	if err := m.Decode(&body); err != nil {
		m.Close()
		return nil, stateLost(name, err)
	}
	switch {
	case body.None:
		m.Close()
		return nil, fmt.Errorf("%w: %q", ErrNoState, name)
	case body.Fault != "":
		m.Close()
		return nil, stateLost(name, fmt.Errorf("the predecessor says: %.500s", body.Fault))
	case body.Name != name:
		m.Close()
		return nil, stateLost(name, fmt.Errorf("the predecessor sent state %.100q", body.Name))
	}
	file, err := stateOf(m.Files, body.Size)
	if err != nil {
		m.Close()
		return nil, stateLost(name, err)
	}
	return &NamedState{Name: body.Name, Version: body.Version, file: file, size: body.Size, refuse: func(reason error) {
		_ = p.conn.Send(linkWait, link.KindState, link.Verdict{Name: name, Fault: oneLine(reason)}) // it is gone, or sees us go
	}}, nil
}

// stateOf returns the one file, if it is what its sender says.
func stateOf(files []*os.File, size int64) (*os.File, error) {
	if len(files) != 1 {
		return nil, fmt.Errorf("%d files came with it, want 1", len(files))
	}
	info, err := files[0].Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("it came in a file of mode %v, not in a regular one", info.Mode())
	}
	if size < 0 || info.Size() != size {
		return nil, fmt.Errorf("its file has %d bytes, not %d", info.Size(), size)
	}
	return files[0], nil
}

// receiveState takes state from an older generation.
func (u *Upgrader) receiveState(r *relative, m link.Message) {
	var body link.State
	if m.Decode(&body) != nil {
		m.Close()
		return
	}
	if body.Last {
		u.states.mu.Lock()
		u.states.taking++ // before the predecessor's end is seen
		u.states.mu.Unlock()
		go u.takeLast(r, m, body)
		return
	}
	r.desk.settle(body.ID, m)
}

// takeLast gives the predecessor's last word to who wants it, and says what that
// thinks of it.
func (u *Upgrader) takeLast(r *relative, m link.Message, body link.State) {
	u.states.mu.Lock()
	take := u.states.takers[body.Name]
	u.states.mu.Unlock()
	verdict := link.Verdict{ID: body.ID, Name: body.Name}
	if take == nil {
		u.log.Info("the predecessor gives state that this program does not take", "name", body.Name)
		m.Close()
	} else if err := takeState(r, m, body.Name, take); err != nil {
		u.log.Error("refusing the predecessor's last word", "name", body.Name, "error", err)
		verdict.Fault = oneLine(err)
	}
	if err := r.conn.Send(linkWait, link.KindState, verdict); err != nil {
		u.log.Warn("answering the predecessor's last word", "name", body.Name, "error", err)
	}
	u.states.mu.Lock()
	u.states.taking--
	u.states.mu.Unlock()
	u.post(occurrence{run: u.checkSettled})
}

func takeState(r *relative, m link.Message, name string, take func(*NamedState) error) error {
	st, err := openState(r, name, m)
	if err != nil {
		return err
	}
	defer st.Close()
	var refusal error
	st.refuse = func(reason error) { refusal = reason }
	if err := protect(func() error { return take(st) }); err != nil {
		return err
	}
	return refusal
}
