package handoff

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"strconv"
	"time"
)

// WatchdogInterval returns the time within which the manager expects a
// WatchdogPing from this process, or 0 where it expects none: WATCHDOG_USEC is
// unset, or WATCHDOG_PID names another process. Send one at half that
// interval. Malformed values are an error that names the variable. The
// environment stays as it is. Source: sd_watchdog_enabled(3).
func WatchdogInterval() (time.Duration, error) {
	text, ok := os.LookupEnv("WATCHDOG_USEC")
	if !ok {
		return 0, nil
	}
	usec, err := strconv.ParseUint(text, 10, 64)
	if err != nil || usec == 0 || usec == math.MaxUint64 {
		return 0, fmt.Errorf("handoff: environment variable WATCHDOG_USEC=%q is not a number of microseconds", text)
	}
	if text, ok := os.LookupEnv("WATCHDOG_PID"); ok {
		pid, err := strconv.ParseInt(text, 10, 32)
		if err != nil || pid <= 0 {
			return 0, fmt.Errorf("handoff: environment variable WATCHDOG_PID=%q is not a process id", text)
		}
		if int(pid) != os.Getpid() {
			return 0, nil
		}
	}
	if usec > math.MaxInt64/uint64(time.Microsecond) {
		return math.MaxInt64, nil
	}
	return time.Duration(usec) * time.Microsecond, nil
}

// Watchdog sends a WatchdogPing at once and then at every half of interval, as
// long as healthy returns nil just before (a nil healthy is always well), and
// returns nil when ctx ends. A healthy that fails or hangs stops the pings and
// nothing else: the manager then does what the unit says. It is asked again
// half an interval later, and its context ends with that half. A ping that
// can't be sent is tried again with the next. None follows what is sent after the
// end of ctx.
//
// It returns at once with nil on a nil Notifier or an interval of 0, so that
// what WatchdogInterval returned can be given as it is, and with an error that
// matches net.ErrClosed after Close.
func (n *Notifier) Watchdog(ctx context.Context, interval time.Duration, healthy func(context.Context) error) error {
	if n == nil || interval <= 0 {
		return nil
	}
	half := max(interval/2, 1)
	ticker := time.NewTicker(half)
	defer ticker.Stop()
	for {
		if ctx.Err() != nil {
			return nil
		}
		if isHealthy(ctx, half, healthy) {
			if err := n.send(ctx, []byte(WatchdogPing), nil); errors.Is(err, net.ErrClosed) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func isHealthy(ctx context.Context, limit time.Duration, healthy func(context.Context) error) bool {
	if healthy == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return healthy(ctx) == nil && ctx.Err() == nil
}
