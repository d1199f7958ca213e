package prove

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Options are what [Run] needs. URL must be set, and either Upgrade or
// Duration.
type Options struct {
	// URL of the service; see load.ParseURL.
	URL string
	// Shapes of the load: names, each with "=/path" after it where it differs
	// from the URL's. Empty: the usual ones that the service can take.
	Shapes []string
	// TLS has what a https URL needs beyond it; may be nil.
	TLS *tls.Config
	// Header is added to each request.
	Header http.Header
	// Accept says which statuses are right. Nil: 200 to 399.
	Accept func(status int) bool
	// Echo: the service echoes the bodies of POSTs, and requests are such.
	Echo bool

	// Upgrade is the command of an upgrade, run by sh -c. Empty: somebody else
	// upgrades, and Manual tells of it.
	Upgrade string
	// Count is how many upgrades. Zero: 5 with Upgrade, else no limit.
	Count int
	// Pause is between upgrades. Zero: 5 s. It is twice Window at least, so that
	// there is a time that counts as steady.
	Pause time.Duration
	// UpgradeTimeout bounds an upgrade: the command, and after it the wait for
	// ExpectChange. Zero: 1 minute.
	UpgradeTimeout time.Duration
	// ExpectChange is a header of answers, such as X-Pid, that must have a value
	// never seen before after each upgrade. Empty: nothing is expected.
	ExpectChange string
	// Manual tells, without Upgrade, that one begins now. May be nil.
	Manual <-chan struct{}
	// Duration bounds the load without Upgrade.
	Duration time.Duration

	// Rate is the most requests a second that all shapes start together. Zero: 50.
	Rate float64
	// Connections of each shape. Zero: 4.
	Connections int
	// Timeout of a request. Zero: 10 s.
	Timeout time.Duration
	// Window is how long after an upgrade a request counts as near it. Zero: 1 s.
	Window time.Duration

	// Say is told how it goes, a line a call. May be nil.
	Say func(line string)
}

// ErrOption is wrapped by the errors that are about Options.
var ErrOption = errors.New("prove: wrong option")

func (o Options) withDefaults() (Options, error) {
	def := func(v *time.Duration, to time.Duration) {
		if *v == 0 {
			*v = to
		}
	}
	def(&o.Pause, 5*time.Second)
	def(&o.UpgradeTimeout, time.Minute)
	def(&o.Timeout, 10*time.Second)
	def(&o.Window, time.Second)
	if o.Rate == 0 {
		o.Rate = 50
	}
	if o.Connections == 0 {
		o.Connections = 4
	}
	if o.Count == 0 && o.Upgrade != "" {
		o.Count = 5
	}
	if o.Accept == nil {
		o.Accept = func(status int) bool { return status >= 200 && status < 400 }
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	switch {
	case o.Rate < 0 || o.Connections < 0 || o.Count < 0 || o.Pause < 0 || o.UpgradeTimeout < 0 || o.Timeout < 0 || o.Window < 0 || o.Duration < 0:
		return o, fmt.Errorf("%w: numbers and times can't be negative", ErrOption)
	case o.Upgrade == "" && o.Duration == 0:
		return o, fmt.Errorf("%w: without a command to upgrade, say how long to watch", ErrOption)
	}
	o.Pause = max(o.Pause, 2*o.Window)
	return o, nil
}
