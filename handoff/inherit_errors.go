package handoff

import (
	"errors"
	"fmt"
)

// The states of a Set that a caller acts on; test for them with errors.Is.
var (
	// ErrNotInherited: the Set never had such a descriptor. A server then
	// usually makes its own.
	ErrNotInherited = errors.New("not inherited")

	// ErrTaken: all such descriptors have left the Set, taken by an earlier
	// call or closed with it.
	ErrTaken = errors.New("already taken")

	// ErrWrongKind: there is such a descriptor, but of another kind than the
	// method gives out. It stays in the Set. The error is a *KindError.
	ErrWrongKind = errors.New("wrong kind of descriptor")
)

// KindError says that a descriptor is not what was asked for. It wraps
// ErrWrongKind.
type KindError struct {
	Entry Entry  // what was found; the first where several have the name
	Want  string // what was asked for, such as "TCP listener"
}

func (e *KindError) Error() string {
	return fmt.Sprintf("handoff: inherited %v, and not a %s: take it by %s", e.Entry, e.Want, kindTexts[e.Entry.Kind].takers)
}

// Unwrap returns ErrWrongKind.
func (e *KindError) Unwrap() error { return ErrWrongKind }

// EnvError says which environment variable of the protocol Inherit could not
// use. It is the fault of whoever started this process.
type EnvError struct {
	Variable string // such as "LISTEN_FDS"
	Value    string // as it was found; a secret is not shown
	Reason   string // what was expected in its place
	Err      error  // the cause, such as strconv.ErrSyntax or an errno; may be nil
}

func (e *EnvError) Error() string {
	const most = 200
	value := e.Value
	if len(value) > most {
		value = value[:most] + "..."
	}
	return fmt.Sprintf("handoff: %s=%q can't be used: %s", e.Variable, value, e.Reason)
}

// Unwrap returns Err.
func (e *EnvError) Unwrap() error { return e.Err }
