package systemd

import (
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// serves waits until the service answers.
func (s service) serves() {
	s.t.Helper()
	proctest.Until(s.t, "an answer", func() error { _, err := s.ask("tcp"); return err })
}

// notify has keeper tell systemd something, with a file of a kind unless that is "".
func (s service) notify(file string, states ...handoff.State) {
	s.t.Helper()
	if err := s.tryNotify(file, states...); err != nil {
		s.t.Fatalf("%q: %v", states, err)
	}
}

func (s service) tryNotify(file string, states ...handoff.State) error {
	query := url.Values{}
	for _, state := range states {
		query.Add("state", string(state))
	}
	if file != "" {
		query.Set("file", file)
	}
	c := s.client("tcp")
	defer c.CloseIdleConnections()
	_, err := fetch(c, "/notify?"+query.Encode())
	return err
}

// The barrier behind each message says that systemd has processed it, so that nothing
// has to be waited for.
func TestSystemdDoesWhatANotifierSays(t *testing.T) {
	t.Parallel()
	s := installKeeper(t, setting("test", "WatchdogSignal=SIGKILL\nTimeoutStopSec=2"))
	s.Do("start", unit)
	s.serves()
	shown := func(property, want string) {
		t.Helper()
		if got := s.Show(unit, property); got != want {
			t.Errorf("%s is %q, want %q", property, got, want)
		}
	}
	s.notify("", handoff.Status("50 % of ä, and more"), handoff.Errno(2))
	shown("StatusText", "50 % of ä, and more")
	shown("StatusErrno", "2")

	s.notify("", handoff.Reloading)
	shown("ActiveState", "reloading")
	s.notify("", handoff.Ready)
	shown("ActiveState", "active")

	s.notify("", handoff.WatchdogTimeout(time.Hour))
	shown("WatchdogUSec", "1h")
	last := s.Show(unit, "WatchdogTimestampMonotonic")
	s.notify("", handoff.WatchdogPing)
	if now := s.Show(unit, "WatchdogTimestampMonotonic"); now == last {
		t.Errorf("WATCHDOG=1 was not heard: the time is still %s", now)
	}

	const before = "2" // its socket, and the index
	shown("NFileDescriptorStore", before)
	s.notify("memfd", handoff.FDStore, handoff.FDName("of the test"))
	s.notify("memfd", handoff.FDStore, handoff.FDName("of the test"))
	shown("NFileDescriptorStore", "4")
	s.notify("", handoff.FDStoreRemove, handoff.FDName("of the test"))
	shown("NFileDescriptorStore", before)
	s.notify("hung up", handoff.FDStore, handoff.FDName("hung up"), handoff.FDPollDisable)
	shown("NFileDescriptorStore", "3")
	s.notify("hung up", handoff.FDStore, handoff.FDName("watched"))
	s.stored(3) // systemd has dropped it a moment later

	main := s.MainPID(unit)
	s.notify("", handoff.MainPID(main), "MAINPIDFDID=1")
	shown("MainPID", strconv.Itoa(main))
	if v := version(t, s.Box); v >= 257 && !strings.Contains(s.Journal(unit), "MAINPID") {
		t.Error("a MAINPIDFDID of another process is no trouble to systemd")
	}
	if version(t, s.Box) >= 254 {
		s.notify("", handoff.NotifyAccess("all"))
		shown("NotifyAccess", "all")
	}

	_ = s.tryNotify("", handoff.WatchdogTrigger) // which ends the process that answers
	s.Wait(unit, "NRestarts", "1")
	s.reached(1)
	s.notify("", handoff.Stopping)
	shown("ActiveState", "deactivating")
}

func TestAServiceThatNeedsLongerToStartCanAskForTime(t *testing.T) {
	t.Parallel()
	for asks, want := range map[string]string{"": "failed", " -extend": "active"} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			s := installKeeper(t, flags("-slow=3s"+asks), setting("test", "TimeoutStartSec=1\nRestart=no"))
			out, code := s.Systemctl("start", unit)
			if state := s.Show(unit, "ActiveState"); state != want || (code == 0) != (want == "active") {
				t.Errorf("the start ends with %d, the service is %s, want %s: %s", code, state, want, out)
			}
		})
	}
}
