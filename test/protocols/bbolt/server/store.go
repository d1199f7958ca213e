package main

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/handoff-dev/handoff/handoff"
)

// store is a database that one generation has open at a time. The old one closes it
// with its last word, and the new one opens it when it takes that. Requests wait for
// the few milliseconds between.
type store struct {
	file string

	mu    sync.Mutex
	known sync.Cond // of whose it is
	whose owner
	db    *bbolt.DB
}

type owner int

const (
	awaited  owner = iota // the predecessor's last word has not come
	ours                  // open
	released              // closed for a successor, which may still fail
	theirs                // the successor's
)

var errTheirs = errors.New("the successor has the database")

// share returns the store of this generation. Call it before Run.
func share(up *handoff.Upgrader, ln net.Listener, file string) (*store, error) {
	s := &store{file: file}
	s.known.L = &s.mu
	if err := up.TakeLast("db", func(*handoff.NamedState) error { return s.open(awaited) }); err != nil {
		return nil, err
	}
	if err := up.ProvideLast("db", 1, func(io.Writer) error { return s.release() }, func() { _ = s.open(released) }); err != nil {
		return nil, err
	}
	go func() {
		<-up.Draining()
		s.set(released, theirs)
	}()
	if up.Generation() == 1 {
		return s, s.open(awaited)
	}
	go func() { // a predecessor that dies leaves no last word
		<-up.Settled(ln)
		_ = s.open(awaited)
	}()
	return s, nil
}

// open opens what is so far as from says, and else does nothing. It waits for the
// file's lock: a generation that has failed lets go of it at its end.
func (s *store) open(from owner) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.whose != from {
		return nil
	}
	db, err := bbolt.Open(s.file, 0o600, &bbolt.Options{Timeout: 10 * time.Second, NoSync: true})
	if err != nil {
		return err
	}
	s.db, s.whose = db, ours
	s.known.Broadcast()
	return nil
}

// release closes the database, and has requests wait until it is somebody's.
func (s *store) release() error {
	s.set(ours, released)
	return s.db.Close() // when the transactions in it have ended
}

func (s *store) set(from, to owner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.whose == from {
		s.whose = to
		s.known.Broadcast()
	}
}

func (s *store) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.whose == ours {
		_ = s.db.Close()
	}
}

func (s *store) update(do func(*bbolt.Tx) error) error {
	for {
		s.mu.Lock()
		for s.whose == awaited || s.whose == released {
			s.known.Wait()
		}
		whose, db := s.whose, s.db
		s.mu.Unlock()
		if whose == theirs {
			return errTheirs
		}
		if err := db.Update(do); !errors.Is(err, bbolterrors.ErrDatabaseNotOpen) {
			return err
		}
	}
}
