package handoff

import (
	"errors"
	"fmt"
)

// The states that a caller may want to act on; the errors that this package
// returns wrap them.
var (
	// ErrUnsupported: this system or this process can't start a successor. It
	// is [errors.ErrUnsupported] too. Listening and serving still work.
	ErrUnsupported = fmt.Errorf("handoff: upgrades are unsupported here: %w", errors.ErrUnsupported)
	// ErrWouldEndService: an upgrade would work, and then the end of this process
	// would end the service: whoever watches this process's pid can't be told
	// about another one. The text says what to change.
	ErrWouldEndService = errors.New("handoff: an upgrade would end the service")
	// ErrBadOption: a field of [Options] has a value that can't be right; the text
	// says which.
	ErrBadOption = errors.New("handoff: bad option")
	// ErrNotReady: this generation has not said Ready yet, or its predecessor
	// has not yet committed to it.
	ErrNotReady = errors.New("handoff: this generation is not ready yet")
	// ErrUpgradeInProgress: there is a successor already that is on its way.
	ErrUpgradeInProgress = errors.New("handoff: an upgrade is in progress")
	// ErrHandedOver: the successor has taken over; ask it.
	ErrHandedOver = errors.New("handoff: this generation has handed over to its successor")
	// ErrStopping: the service is stopping.
	ErrStopping = errors.New("handoff: the service is stopping")
)
