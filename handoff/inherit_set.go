package handoff

import (
	"errors"
	"fmt"
	"iter"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
)

// Set holds the descriptors that this process inherited until somebody takes
// them. It may be used by several goroutines at once. The zero value is empty.
//
// All methods that take share these rules. On success the descriptor has left the
// Set, and the caller owns and closes what is returned. On an error it is still in
// the Set, for another try: [ErrNotInherited], [ErrTaken], a [*KindError], or the
// system's.
//
// Nothing closes what is not taken before Close does: while a listener lies in
// the Set, clients connect to it and wait.
type Set struct {
	fds   fdTable
	mu    sync.Mutex
	slots []slot
	first int // all slots before it are gone
}

type slot struct {
	entry  Entry
	unseen bool // nobody has looked what it is: with a thousand, that takes its time
	gone   bool // taken or closed: the descriptor's number may be somebody else's by now
}

// Entry tells of one inherited descriptor. It is a description only, FD is not
// to be used: the Set owns it.
type Entry struct {
	Index int    // its place in the passed order, from 0
	FD    int    // its number (on Windows the socket's handle)
	Name  string // not unique: all sockets of one .socket unit share theirs
	Kind  Kind

	Addr       net.Addr // where an IP or unix socket is bound, nil for others
	RemoteAddr net.Addr // the peer of a connected socket, nil for others

	text string // in place of Kind.String, where that says too little
}

// String is made for log lines: `fd 3 "http": TCP listener on 127.0.0.1:8080`.
func (e Entry) String() string {
	what := e.text
	if what == "" {
		what = e.Kind.String()
	}
	s := fmt.Sprintf("fd %d %q: %s", e.FD, e.Name, what)
	if e.Addr != nil && e.Addr.String() != "" {
		s += " on " + e.Addr.String()
	}
	if e.RemoteAddr != nil && e.RemoteAddr.String() != "" {
		s += " with peer " + e.RemoteAddr.String()
	}
	return s
}

// Selector says which descriptor of a Set is meant. The zero value is
// ByName("").
type Selector struct {
	byIndex bool
	index   int
	name    string
}

// ByName selects the first descriptor of that name that nobody has taken and
// that is of a kind the called method gives out.
func ByName(name string) Selector { return Selector{name: name} }

// ByIndex selects by place in the passed order, from 0. That order is the unit
// file's for the sockets of one .socket unit; between several units it changes
// from start to start.
func ByIndex(i int) Selector { return Selector{byIndex: true, index: i} }

// String is `name "http"` or `index 0`.
func (sel Selector) String() string {
	if sel.byIndex {
		return fmt.Sprintf("index %d", sel.index)
	}
	return fmt.Sprintf("name %q", sel.name)
}

func (sel Selector) selects(e Entry) bool {
	if sel.byIndex {
		return e.Index == sel.index
	}
	return e.Name == sel.name
}

// Len is how many descriptors were passed, taken or not.
func (s *Set) Len() int {
	return len(s.slots)
}

// lookLocked returns the entry of a slot, complete.
func (s *Set) lookLocked(sl *slot) Entry {
	if sl.unseen && !sl.gone {
		e := &sl.entry
		e.Kind, e.text, e.Addr, e.RemoteAddr = s.fds.kindOf(e.FD)
		sl.unseen = false
	}
	return sl.entry
}

// All gives what nobody has taken, in the passed order, as of the moment the
// iteration begins: taking and closing in the loop is fine.
func (s *Set) All() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for _, e := range s.left() {
			if !yield(e) {
				return
			}
		}
	}
}

func (s *Set) left() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var left []Entry
	for i := range s.slots {
		if sl := &s.slots[i]; !sl.gone {
			left = append(left, s.lookLocked(sl))
		}
	}
	return left
}

// Close closes what nobody has taken. Nothing that was taken is touched, and no
// unix socket's path is unlinked. A second Close has nothing to do.
func (s *Set) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for i := range s.slots {
		if sl := &s.slots[i]; !sl.gone {
			s.lookLocked(sl) // for who asks afterwards
			sl.gone = true
			if err := s.fds.close(sl.entry.FD); err != nil {
				errs = append(errs, fmt.Errorf("handoff: close inherited %v: %w", sl.entry, os.NewSyscallError("close", err)))
			}
		}
	}
	return errors.Join(errs...)
}

// want is what a method gives out.
type want struct {
	text  string
	kinds []Kind // nil is any
}

func (w want) fits(k Kind) bool {
	return w.kinds == nil || slices.Contains(w.kinds, k)
}

// findLocked gives the indexes of all that could be taken, or the error that
// says why there is none.
func (s *Set) findLocked(sel Selector, w want) ([]int, error) {
	var found []int
	var other *Entry
	gone := false
	for i := range s.slots {
		sl := &s.slots[i]
		switch {
		case !sel.selects(sl.entry):
		case sl.gone:
			gone = true
		case w.fits(s.lookLocked(sl).Kind):
			found = append(found, i)
		case other == nil:
			other = &sl.entry
		}
	}
	switch {
	case found != nil:
		return found, nil
	case other != nil:
		return nil, &KindError{Entry: *other, Want: w.text}
	case gone:
		return nil, fmt.Errorf("handoff: inherited descriptor by %v: %w", sel, ErrTaken)
	}
	return nil, fmt.Errorf("handoff: descriptor by %v: %w (there is: %s)", sel, ErrNotInherited, s.contentsLocked())
}

// contentsLocked helps whoever mistyped a name.
func (s *Set) contentsLocked() string {
	if len(s.slots) == 0 {
		return "nothing"
	}
	const most = 8
	var all []string
	for i := range s.slots {
		if i == most {
			all = append(all, fmt.Sprintf("%d more", len(s.slots)-most))
			break
		}
		all = append(all, s.lookLocked(&s.slots[i]).String())
	}
	return strings.Join(all, "; ")
}
