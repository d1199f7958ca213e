package systemd

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"golang.org/x/sys/unix"
)

// A notification is one datagram as systemd has read it.
type notification struct {
	pid    int
	states string // separated by commas, as a status may have them, too
}

// has tells whether a state that isn't the last is among them.
func (n notification) has(state string) bool {
	return strings.HasPrefix(n.states, state) || strings.Contains(n.states, ", "+state)
}

var notificationLine = regexp.MustCompile(`(?m)systemd\[1\]: ` + regexp.QuoteMeta(unit) + `: Got notification message from PID (\d+)(?: \((.*)\)|: (.*))$`)

// notifications are all that systemd has read of the service, if its log level is debug.
func (s service) notifications() (all []notification) {
	s.t.Helper()
	for _, m := range notificationLine.FindAllStringSubmatch(s.Journal(unit), -1) {
		pid, err := strconv.Atoi(m[1])
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, notification{pid, m[2] + m[3]})
	}
	return all
}

// What counts is what systemd itself has heard, and from whom.
func TestTheOldMainProcessNamesTheNewOneInOneMessageAndIsSilentFromThenOn(t *testing.T) {
	t.Parallel()
	for _, access := range []string{"main", "all"} {
		t.Run("NotifyAccess="+access, func(t *testing.T) {
			t.Parallel()
			s := install(t, httpSocket(t), setting("access", "NotifyAccess="+access+"\nWatchdogSec=1"), flags(quick))
			s.Do("log-level", "debug")
			s.startSockets(httpSocket(t))
			mains, ids := []int{s.upgradeTo(1).pid}, []string{""}
			for generation := 2; generation <= 4; generation++ {
				slow := s.slowRequest(3 * time.Second) // so that the old one lives on, and might speak
				mains, ids = append(mains, s.upgradeTo(generation).pid), append(ids, pidfdState(t, s.HostPID(unit)))
				defer slow.finished()
			}
			last := mains[len(mains)-1]
			s.alone(last)
			s.statusSays("drain", false)
			s.Do("stop", "graceful.socket", unit)
			s.logged("Deactivated successfully") // the journal lags behind

			at, stops := 0, 0 // whose turn it is
			for _, n := range s.notifications() {
				if n.pid != mains[at] {
					t.Fatalf("process %d has said %q while %d was the main process; all were %v", n.pid, n.states, mains[at], mains)
				}
				if n.has("STOPPING=1") {
					stops++
				}
				ready, named := n.has("READY=1"), n.has("MAINPID=")
				if ready != (named || at == 0 && !named && strings.HasPrefix(n.states, "READY=1")) {
					t.Errorf("process %d has said %q: MAINPID= and READY=1 belong together", n.pid, n.states)
				}
				if !named {
					continue
				}
				at++
				if want := fmt.Sprintf("MAINPID=%d, %sREADY=1, STATUS=Serving, generation %d;", mains[at], ids[at], at+1); !strings.HasPrefix(n.states, want) {
					t.Errorf("process %d has said %q, want %q", n.pid, n.states, want)
				}
			}
			if at != len(mains)-1 || stops != 1 {
				t.Errorf("%d hand-overs and %d times STOPPING=1 were heard, want %d and 1:\n%v", at, stops, len(mains)-1, s.notifications())
			}
			if strings.Contains(s.Journal(unit), "reception only permitted") {
				t.Error("somebody else has spoken than the main process")
			}
		})
	}
}

// pidfdState is how the process of a pid is named besides, "" by kernels that can't.
func pidfdState(t *testing.T, pid int) string {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	id, err := handoff.PIDFDID(fd)
	if err != nil {
		return ""
	}
	return string(handoff.MainPIDFDID(id)) + ", "
}

func TestAnUpgradeThatWouldEndTheServiceIsRefusedByAnErrorOfItsOwn(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lines, advice string
		since         int
	}{
		"no NotifyAccess":       {"Type=simple\nNotifyAccess=none\nFileDescriptorStoreMax=0", "set Type=notify and NotifyAccess=main in the unit", 0},
		"no NOTIFY_SOCKET":      {"Type=exec\nUnsetEnvironment=NOTIFY_SOCKET", "set Type=notify and NotifyAccess=main in the unit", 0},
		"a pid namespace":       {"PrivatePIDs=yes", "without PrivatePIDs=", 257},
		"nothing is to be told": {"", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := installKeeper(t, setting("test", test.lines))
			if test.since > 0 {
				s.since(t, test.since, test.lines)
			}
			s.Do("start", unit)
			// Of a simple service nobody knows when it listens.
			s.serves()
			main := s.MainPID(unit)
			s.alone(main) // what systemd has started before it may just be ending
			c := s.client("tcp")
			defer c.CloseIdleConnections()
			text, err := fetch(c, "/upgrade")
			if err != nil {
				t.Fatal(err)
			}
			if test.advice == "" { // so that the others can fail
				if text != "would end the service: false: <nil>\n" {
					t.Errorf("the answer is %q", text)
				}
				return
			}
			if !strings.HasPrefix(text, "would end the service: true: ") || !strings.Contains(text, test.advice) {
				t.Errorf("the answer is %q, want the advice %q", text, test.advice)
			}
			if now := s.MainPID(unit); now != main {
				t.Errorf("the main process is %d, it was %d", now, main)
			}
			s.alone(main)
			if state := s.Show(unit, "SubState"); state != "running" {
				t.Errorf("the service is %s", state)
			}
		})
	}
}
