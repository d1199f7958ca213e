package handoff

import (
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
)

// The variables of the protocol.
const (
	envPID     = "LISTEN_PID"
	envPIDFDID = "LISTEN_PIDFDID"
	envFDs     = "LISTEN_FDS"
	envNames   = "LISTEN_FDNAMES"
	envFirst   = "LISTEN_FDS_FIRST_FD"
)

var envAll = []string{envPID, envPIDFDID, envFDs, envNames, envFirst}

const (
	firstFD   = 3 // SD_LISTEN_FDS_START
	unnamed   = "unknown"
	maxMarked = 1 << 16 // on an error, how many are made close-on-exec: some 10 ms of work
)

// process is what reading the protocol needs of the process it happens in.
type process struct {
	lookup  func(key string) (string, bool)
	unset   func(key string) error
	pid     func() int
	pidfdID func() (id uint64, ok bool)
	fds     fdTable
}

// fdTable is the process's descriptors.
type fdTable struct {
	adopt  func(fd int) error // checks that fd may be inherited, and makes it close-on-exec
	mark   func(fd int)       // makes it close-on-exec, if it is open
	kindOf func(fd int) (kind Kind, text string, local, remote net.Addr)
	close  func(fd int) error
}

// listenEnv holds the values of those variables that are set.
type listenEnv map[string]string

func (p process) takeEnv() (listenEnv, error) {
	env := listenEnv{}
	var errs []error
	for _, key := range envAll {
		if v, ok := p.lookup(key); ok {
			env[key] = v
			errs = append(errs, p.unset(key))
		}
	}
	return env, errors.Join(errs...)
}

// inheritFDs reads the protocol in the order of sd_listen_fds(3).
func (p process) inheritFDs(opts InheritOptions) (*Set, error) {
	env, err := p.takeEnv()
	if err != nil {
		return nil, fmt.Errorf("handoff: remove LISTEN_* from the environment: %w", err)
	}
	first, n, rangeErr := env.fdRange()
	mine, err := p.meant(env, opts)
	switch {
	case err != nil:
		if rangeErr == nil {
			p.markAll(first, n)
		}
		return nil, err
	case !mine || !env.has(envFDs):
		return &Set{}, nil
	case rangeErr != nil:
		return nil, rangeErr
	}
	names, err := env.names(n)
	if err != nil {
		p.markAll(first, n)
		return nil, err
	}
	for i := range n {
		if err := p.fds.adopt(first + i); err != nil {
			p.markAll(first+i, n-i)
			return nil, &EnvError{Variable: envFDs, Value: env[envFDs], Err: err, Reason: fmt.Sprintf(
				"of the descriptors %d to %d that it speaks of, %v", first, first+n-1, err)}
		}
	}
	return p.newSet(first, n, names), nil
}

// newSet is called with n descriptors that are known to be open, so n is sane.
func (p process) newSet(first, n int, names []string) *Set {
	s := &Set{fds: p.fds, slots: make([]slot, n)}
	for i := range s.slots {
		e := Entry{Index: i, FD: first + i, Name: unnamed}
		if names != nil {
			e.Name = names[i]
		}
		s.slots[i] = slot{entry: e, unseen: true}
	}
	return s
}

// markAll serves the error paths, where n is only a claim. It can't stop at the
// first gap, and mustn't go on to the end of an absurd range.
func (p process) markAll(first, n int) {
	for i := range min(n, maxMarked) {
		p.fds.mark(first + i)
	}
}

func (env listenEnv) has(key string) bool {
	_, ok := env[key]
	return ok
}

// meant tells whether the descriptors are for this process.
func (p process) meant(env listenEnv, opts InheritOptions) (bool, error) {
	v, ok := env[envPID]
	switch {
	case !ok && opts.RequirePID:
		return false, nil
	case v == "" && !opts.RequirePID:
		if !env.has(envFDs) {
			return false, nil
		}
	default:
		pid, err := decimal(v, math.MaxInt32)
		if err != nil || pid == 0 {
			return false, &EnvError{Variable: envPID, Value: v, Err: err, Reason: "expected a process id"}
		}
		if pid != uint64(p.pid()) {
			return false, nil
		}
	}
	v, ok = env[envPIDFDID]
	if !ok {
		return true, nil
	}
	id, err := decimal(v, math.MaxUint64)
	if err != nil {
		return false, &EnvError{Variable: envPIDFDID, Value: v, Err: err, Reason: "expected the inode number of a pidfd"}
	}
	own, ok := p.pidfdID()
	return !ok || own == id, nil
}

// fdRange gives the claimed range; n is 0 with neither error nor LISTEN_FDS. All
// its numbers are 3 or more, and fit into the C int that a descriptor is.
func (env listenEnv) fdRange() (first, n int, err error) {
	first = firstFD
	if v, ok := env[envFirst]; ok {
		u, err := decimal(v, math.MaxInt32)
		if err != nil {
			return 0, 0, &EnvError{Variable: envFirst, Value: v, Err: err, Reason: "expected the number of the first passed descriptor"}
		}
		if u < firstFD {
			return 0, 0, &EnvError{Variable: envFirst, Value: v, Reason: "expected 3 or more, as 0 to 2 are standard input, output and error"}
		}
		first = int(u)
	}
	v, ok := env[envFDs]
	if !ok {
		return first, 0, nil
	}
	u, err := decimal(v, math.MaxUint64)
	if err != nil || u == 0 {
		return 0, 0, &EnvError{Variable: envFDs, Value: v, Err: err, Reason: "expected how many descriptors are passed, 1 or more"}
	}
	if most := uint64(math.MaxInt32 - first + 1); u > most {
		return 0, 0, &EnvError{Variable: envFDs, Value: v, Reason: fmt.Sprintf(
			"from descriptor %d on there can't be more than %d", first, most)}
	}
	return first, int(u), nil
}

// names is nil where LISTEN_FDNAMES is unset. It counts before it splits, so
// that an absurd n costs nothing.
func (env listenEnv) names(n int) ([]string, error) {
	v, ok := env[envNames]
	if !ok {
		return nil, nil
	}
	if got := strings.Count(v, ":") + 1; got != n {
		return nil, &EnvError{Variable: envNames, Value: v, Reason: fmt.Sprintf(
			"expected %d names with colons between, as LISTEN_FDS=%d, not %d", n, n, got)}
	}
	return strings.Split(v, ":"), nil
}

// decimal is strict where strconv is not: no sign.
func decimal(v string, most uint64) (uint64, error) {
	u, err := strconv.ParseUint(v, 10, 64)
	var num *strconv.NumError
	if errors.As(err, &num) {
		return 0, num.Err // the value is in the EnvError already
	}
	if u > most {
		return 0, strconv.ErrRange
	}
	return u, nil
}
