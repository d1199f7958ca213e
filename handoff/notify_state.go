package handoff

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// MaxNotifySize is the largest notification in bytes. systemd ignores a longer
// one without a word to its sender.
const MaxNotifySize = 4096

// ErrNotifySize is returned, wrapped, for states that together exceed
// MaxNotifySize. Nothing was sent.
var ErrNotifySize = errors.New("handoff: notification is too long")

// A State is one line of a notification, KEY=VALUE, as sd_notify(3) lists
// them. The constants and functions here cover those that are well known;
// any other is State("X_MY_KEY=value").
//
// A State holds exactly one line: a line break, carriage return or NUL in it,
// or a missing key, is refused by Notify, so that a text from outside can't
// add states of its own.
type State string

const (
	// Ready says that start-up, or a reload, is complete.
	Ready State = "READY=1"

	// Reloading says that the service reloads its configuration; Ready must
	// follow. Notify adds the MONOTONIC_USEC that Type=notify-reload asks for
	// when it sends this State, unless the caller gives one of its own.
	Reloading State = "RELOADING=1"

	// Stopping says that the service is about to end. A generation that has
	// handed over must not send it: systemd would take it for the whole
	// service and kill the successor after TimeoutStopSec.
	Stopping State = "STOPPING=1"

	// WatchdogPing keeps the watchdog quiet; see [Notifier.Watchdog].
	WatchdogPing State = "WATCHDOG=1"

	// WatchdogTrigger has the manager act at once as if a ping were overdue,
	// whether or not WatchdogSec is set.
	WatchdogTrigger State = "WATCHDOG=trigger"

	// FDStore keeps the files of a [Notifier.NotifyFiles] in the manager, over
	// restarts and crashes, under the name of FDName ("stored" without one).
	// systemd ignores it in silence where FileDescriptorStoreMax is 0. Store a
	// socket after it listens: systemd drops one that polls as hung up.
	FDStore State = "FDSTORE=1"

	// FDStoreRemove has the manager close the stored files that have the name
	// of the FDName beside it.
	FDStoreRemove State = "FDSTOREREMOVE=1"

	// FDPollDisable, beside FDStore, keeps the files even when they hang up.
	FDPollDisable State = "FDPOLL=0"

	// MainPIDFD names, by the one pidfd that NotifyFiles sends with it, the
	// service's new main process (systemd 257 or later).
	MainPIDFD State = "MAINPIDFD=1"

	// RestartReset sets the manager's restart counter to 0 (systemd 258 or later).
	RestartReset State = "RESTART_RESET=1"
)

// barrier is not exported: it must be alone and carry one file, which is what
// Notifier.Barrier is for.
const barrier State = "BARRIER=1"

// Status tells people in one line what the service does. Bytes that are not
// UTF-8 become U+FFFD, since systemd ignores a status with any. A text with a
// line break is refused by Notify.
func Status(text string) State {
	return State("STATUS=" + strings.ToValidUTF8(text, "\uFFFD"))
}

// Errno tells why the service fails.
func Errno(errno syscall.Errno) State {
	return State("ERRNO=" + strconv.FormatUint(uint64(errno), 10))
}

// MainPID names the service's main process. systemd takes it from the present
// main process (NotifyAccess=main) and follows the new one from then on.
func MainPID(pid int) State { return State("MAINPID=" + strconv.Itoa(pid)) }

// MainPIDFDID makes sure that the pid of a MainPID beside it is not used by
// another process by the time the manager looks (systemd 257 or later; older
// ones ignore it). id is what PIDFDID returns.
func MainPIDFDID(id uint64) State {
	return State("MAINPIDFDID=" + strconv.FormatUint(id, 10))
}

// PIDFDID returns the number by which systemd and the LISTEN_PIDFDID protocol
// know the process of a pidfd, unlike its pid never used again while the
// machine runs: the pidfd's inode. pidfd stays open. The error matches
// errors.ErrUnsupported before Linux 6.9 and on other systems.
func PIDFDID(pidfd int) (uint64, error) {
	id, err := pidfdID(pidfd)
	if err != nil {
		return 0, fmt.Errorf("handoff: pidfd id: %w", err)
	}
	return id, nil
}

// ExtendTimeout asks for d more, from now on, to start, run or stop, whichever
// the service is at; it must be renewed before d has passed. Parts of a
// microsecond count as one. A negative d is refused by Notify.
func ExtendTimeout(d time.Duration) State {
	return State("EXTEND_TIMEOUT_USEC=" + usec(d))
}

// WatchdogTimeout sets the watchdog's timeout anew; the environment, and with
// it WatchdogInterval, keeps the old one. A d that is not positive is refused
// by Notify.
func WatchdogTimeout(d time.Duration) State {
	if d <= 0 {
		return State("WATCHDOG_USEC=" + invalidNumber)
	}
	return State("WATCHDOG_USEC=" + usec(d))
}

// FDName names the files of an FDStore or FDStoreRemove beside it: at most 255
// printable ASCII characters without a colon. systemd ignores any other name
// and stores the files as "stored", so Notify refuses it.
func FDName(name string) State { return State("FDNAME=" + name) }

// NotifyAccess replaces the unit's NotifyAccess setting while the service
// runs: "none", "main", "exec" or "all" (systemd 254 or later).
func NotifyAccess(access string) State { return State("NOTIFYACCESS=" + access) }

// invalidNumber stands for a number that no key takes, so that the error
// appears where errors are returned: when it is sent.
const invalidNumber = "-1"

func usec(d time.Duration) string {
	if d < 0 {
		return invalidNumber
	}
	n := int64(d / time.Microsecond)
	if d%time.Microsecond != 0 {
		n++
	}
	return strconv.FormatInt(n, 10)
}

// encodeStates returns the datagram for states.
func encodeStates(states []State) ([]byte, error) {
	if len(states) == 0 {
		return nil, errors.New("handoff: notification without a state; give at least one, such as handoff.Ready")
	}
	lines := make([]string, 0, len(states)+1)
	reloading, stamped := false, false
	for _, s := range states {
		if err := s.check(); err != nil {
			return nil, err
		}
		lines = append(lines, string(s))
		reloading = reloading || s == Reloading
		stamped = stamped || strings.HasPrefix(string(s), "MONOTONIC_USEC=")
	}
	if reloading && !stamped {
		if now, ok := monotonicUsec(); ok {
			lines = append(lines, fmt.Sprintf("MONOTONIC_USEC=%d", now))
		}
	}
	// The newline at the end is optional. Without it, what another process sent
	// in a message of full size still fits when it is passed on.
	message := strings.Join(lines, "\n")
	if len(message) > MaxNotifySize {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed; shorten the status", ErrNotifySize, len(message), MaxNotifySize)
	}
	return []byte(message), nil
}

func (s State) check() error {
	key, value, found := strings.Cut(string(s), "=")
	if strings.ContainsAny(string(s), "\n\r\x00") {
		return fmt.Errorf("handoff: state %q has a line break or NUL in it; one State is one line", s)
	}
	if !found || key == "" {
		return fmt.Errorf("handoff: state %q is not KEY=VALUE", s)
	}
	switch key {
	case "MAINPID", "EXTEND_TIMEOUT_USEC", "WATCHDOG_USEC":
		if n, err := strconv.ParseUint(value, 10, 64); err != nil || n == 0 && key != "EXTEND_TIMEOUT_USEC" {
			return fmt.Errorf("handoff: state %q: not a number that %s takes", s, key)
		}
	case "FDNAME":
		if !validFDName(value) {
			return fmt.Errorf("handoff: state %q: a name is at most 255 printable ASCII characters without a colon", s)
		}
	}
	return nil
}

func validFDName(name string) bool {
	for i := range len(name) {
		if name[i] < 0x20 || name[i] > 0x7e || name[i] == ':' {
			return false
		}
	}
	return len(name) <= 255
}
