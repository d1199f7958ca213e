package handoff

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

type origin = link.Origin

// shared is a descriptor that goes on to the successor.
type shared struct {
	File
	origin origin
	gate   *gate        // nil for what is only kept
	end    func() error // ends its use by this generation; nil for what is only kept
	hall   *listener    // at which connections with state come in; nil if none may
	alone  bool         // this process has bound it, and passed it to no other
	store  bool         // the program wants it in the manager's store

	// Of datagram sockets, see PacketOptions:
	untilCommit bool // it is read here until the commit
	late        bool // its predecessor reads it until the commit
	router      *router
	older       []*outlet // to older generations, until the router has them
	slot        int       // its place among what was exported last; -1: it wasn't, or not yet
}

// told is the origin as another process is to know it.
func (s *shared) told() origin {
	o := s.origin
	o.Name, o.Stored, o.UntilCommit = s.Name, s.store, s.untilCommit
	return o
}

// Keep hands file on to every successor too, under its name: an inherited file, a
// connection, or one that this program has opened. The program goes on to use
// and to close it: once it is closed, it isn't handed on any more. The successor
// finds it in [Upgrader.Inherited].
func (u *Upgrader) Keep(file File) error {
	if err := checkName(file.Name); err != nil {
		return fmt.Errorf("handoff: keep: %w", err)
	}
	if file.Conn == nil {
		return fmt.Errorf("handoff: keep %q: it has no Conn", file.Name)
	}
	return u.register(&shared{File: file})
}

// Forget takes back Keep: conn isn't handed on any more. It does not close it.
func (u *Upgrader) Forget(conn syscall.Conn) {
	u.mu.Lock()
	u.shared = slices.DeleteFunc(u.shared, func(s *shared) bool { return s.Conn == conn && s.gate == nil })
	main := u.main
	u.mu.Unlock()
	if main {
		go u.post(occurrence{run: u.syncStore})
	}
}

// register adds s to what is handed on, and opens its gate if this generation is
// accepting.
func (u *Upgrader) register(s *shared) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended != nil {
		if s.alone {
			u.unlink(s.origin)
		}
		return u.ended
	}
	u.shared = append(u.shared, s)
	if s.gate != nil {
		s.gate.toldEnd = u.noteToldEnd
		s.gate.set(u.gateFor(s))
	}
	if u.main {
		go u.post(occurrence{run: u.syncStore})
	}
	return nil
}

// forget is when the program closes a socket of its own accord.
func (u *Upgrader) forget(s *shared) {
	u.mu.Lock()
	s.slot = -1
	i := slices.Index(u.shared, s)
	if i >= 0 {
		u.shared = slices.Delete(u.shared, i, i+1)
	}
	last := i >= 0 && (u.main || s.alone)
	u.mu.Unlock()
	if last {
		u.unlink(s.origin)
		go u.post(occurrence{run: u.syncStore})
	}
}

// setGates opens or pauses all sockets.
func (u *Upgrader) setGates(state gateState) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.gates = state
	u.setGatesLocked()
}

func (u *Upgrader) setGatesLocked() {
	for _, s := range u.shared {
		if s.gate != nil {
			s.gate.set(u.gateFor(s))
		}
	}
}

// endShared ends the use of all sockets by this generation; why is what Listen
// returns from now on. The last generation of the service removes the files of
// its unix sockets; one that stops without ever having been the main generation
// removes those that it has made itself, which nobody else knows. It returns the origins of what it has ended.
func (u *Upgrader) endShared(why error, last bool) (origins []origin) {
	u.mu.Lock()
	ended := u.shared
	u.shared, u.ended = nil, why
	u.mu.Unlock()
	for _, s := range ended {
		origins = append(origins, s.origin)
		if last || s.alone {
			u.unlink(s.origin)
		}
		if s.end == nil {
			continue
		}
		if err := s.end(); err != nil {
			u.log.Warn("closing a socket", "name", s.Name, "error", err)
		}
	}
	return origins
}

// exports returns duplicates of what is to be handed on, the caller's to close,
// and their origins. What the program has closed is left out.
func (u *Upgrader) exports() (files []*os.File, origins []origin, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, s := range u.shared {
		s.slot = -1
		d, err := dupFile(s.File)
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) {
			continue
		}
		if err != nil {
			closeAll(files)
			return nil, nil, err
		}
		s.alone, s.slot = false, len(files)
		files = append(files, d)
		origins = append(origins, s.told())
	}
	return files, origins, nil
}
