package systemd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/test/internal/proctest"
	"golang.org/x/sys/unix"
)

func TestAStopAfterUpgradesEndsTheServiceAsCleanlyAsBefore(t *testing.T) {
	t.Parallel()
	t.Run("with a socket unit", func(t *testing.T) {
		t.Parallel()
		s := install(t, httpSocket(t), flags(quick))
		s.startSockets(httpSocket(t))
		s.upgradeTo(4)
		s.Do("stop", "graceful.socket", unit)
		s.ended()
	})
	t.Run("with sockets of its own", func(t *testing.T) {
		t.Parallel()
		s := install(t, ownSockets())
		s.Do("start", unit)
		s.upgradeTo(4)
		s.Do("stop", unit)
		s.ended()
		if _, err := os.Lstat(s.Path(unixPath)); !os.IsNotExist(err) {
			t.Errorf("the file of its unix socket after the end: %v, want that it is gone", err)
		}
	})
}

func TestARestartAfterAnUpgradeGoesOnWithTheSameSocketsAndRefusesNobody(t *testing.T) {
	t.Parallel()
	s := install(t, allSockets(t), flags(append(elsewhere, quick)...))
	s.startSockets(allSockets(t))
	s.alone(s.upgradeTo(2).pid)
	s.restarts()
}

func TestAStopAfterUpgradesLetsARequestInFlightFinish(t *testing.T) {
	t.Parallel()
	s := install(t, httpSocket(t), flags(quick))
	s.startSockets(httpSocket(t))
	s.alone(s.upgradeTo(4).pid) // systemd is more patient while there are others
	slow := s.slowRequest(2 * time.Second)
	s.Do("stop", "graceful.socket", unit)
	slow.finished()
	s.ended()
}

func TestAStopEndsAGenerationThatWouldDrainForLong(t *testing.T) {
	t.Parallel()
	s := install(t, httpSocket(t), flags(quick))
	s.startSockets(httpSocket(t))
	s.upgradeTo(1)
	s.slowRequest(10 * time.Minute)
	s.upgradeTo(2)
	start := time.Now()
	s.Do("stop", "graceful.socket", unit)
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("the stop took %v; the generation that drained should have hurried", took)
	}
	s.ended()
}

func TestACrashIsSeenAtOnceWhileAnOlderGenerationDrains(t *testing.T) {
	t.Parallel()
	s := install(t, httpSocket(t), flags(quick))
	s.startSockets(httpSocket(t))
	units := s.sockets()
	old := s.upgradeTo(1)
	slow := s.slowRequest(10 * time.Minute)
	main := s.upgradeTo(2)

	s.crash()
	s.WaitFor(unit, "SubState", "not running any more", func(v string) bool { return v != "running" })
	if pids := s.Processes(unit); len(pids) != 1 || pids[0] != old.pid {
		t.Errorf("the processes are %v when systemd sees the crash, want %d, which drains", pids, old.pid)
	}
	s.Wait(unit, "NRestarts", "1")
	after := s.reached(1)
	if after.pid == old.pid || after.pid == main.pid {
		t.Errorf("process %d serves again", after.pid)
	}
	s.same(units)
	slow.cut()
	s.alone(after.pid)
}

func TestACrashKeepsTheSocketsThatTheServiceHasBoundItself(t *testing.T) {
	t.Parallel()
	for _, generation := range []int{1, 3} {
		t.Run(fmt.Sprintf("of generation %d", generation), func(t *testing.T) {
			t.Parallel()
			s := install(t, ownSockets())
			s.Do("start", unit)
			own := s.sockets()
			before := s.upgradeTo(generation)
			s.alone(before.pid)
			s.crash()
			after := s.reached(1) // which fails if it is refused
			if after.pid == before.pid {
				t.Errorf("process %d serves again", after.pid)
			}
			s.answersEverywhere(1)
			s.same(own)
			s.Do("stop", unit)
			// systemd empties its store a moment after the stop.
			proctest.Until(t, "the sockets to be closed after the stop", func() error {
				if left := s.sockets(); len(left) != 0 {
					return fmt.Errorf("there are %v", left)
				}
				return nil
			})
		})
	}
}

func TestTheStatusTellsThatAnOlderGenerationDrains(t *testing.T) {
	t.Parallel()
	s := install(t, httpSocket(t), flags(quick))
	s.startSockets(httpSocket(t))
	s.Do("log-level", "debug")
	lines := regexp.MustCompile(`(?m)^ *Status: "(.*)"$`)
	status := func(want string) {
		t.Helper()
		s.Wait(unit, "StatusText", want)
		out, _ := s.Systemctl("status", unit)
		if all := lines.FindAllStringSubmatch(out, -1); len(all) != 1 || all[0][1] != want {
			t.Errorf("systemctl status has not the one line %q:\n%s", want, out)
		}
	}
	first := s.upgradeTo(1)
	status("Serving, generation 1")
	one := s.slowRequest(8 * time.Second)
	second := s.upgradeTo(2)
	status(fmt.Sprintf("Serving, generation 2; generation 1 (pid %d) drains, 1 connection left", first.pid))
	two, three := s.slowRequest(10*time.Second), s.slowRequest(10*time.Second)
	s.upgradeTo(3)
	status("Serving, generation 3; 2 older generations drain, 3 connections left")
	one.finished()
	status(fmt.Sprintf("Serving, generation 3; generation 2 (pid %d) drains, 2 connections left", second.pid))
	two.finished()
	three.finished()
	status("Serving, generation 3")
}

func TestAUnitThatDoesNotListenRefusesTheUpgradeAndLivesOn(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"simple", "exec"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			// A store, or a watchdog, would make systemd listen whatever the unit says.
			deaf := setting("deaf", "Type="+kind+"\nNotifyAccess=none\nFileDescriptorStoreMax=0")
			s := install(t, httpSocket(t), deaf, flags(quick))
			s.startSockets(httpSocket(t))
			before := s.reached(1)
			s.Do("reload", unit)
			s.logged("NotifyAccess") // the line that says why, and what to change
			if after := s.reached(1); after != before {
				t.Errorf("%+v serves, %+v did before", after, before)
			}
			s.alone(before.pid)
			if state := s.Show(unit, "SubState"); state != "running" {
				t.Errorf("the service is %s", state)
			}
		})
	}
}

func TestTheStatusTellsWhatFailedUntilAnUpgradeWorks(t *testing.T) {
	t.Parallel()
	s := install(t, httpSocket(t), flags(quick))
	s.startSockets(httpSocket(t))
	s.upgradeTo(1)
	s.WriteFile(program, []byte("no program at all"), 0o755)
	s.Do("reload", unit)
	s.statusSays("upgrade", true)
	s.statusSays("exec format error", true)
	s.replaceProgram("2")
	s.upgradeTo(2)
	s.statusSays("exec format error", false)
}

func TestTheWatchdogIsFedByEveryGenerationAndBitesTheNewest(t *testing.T) {
	t.Parallel()
	s := install(t, httpSocket(t), setting("watchdog", "WatchdogSec=2\nRestartSec=0"), flags(quick))
	s.startSockets(httpSocket(t))
	for generation := 1; generation <= 3; generation++ {
		s.upgradeTo(generation)
		for range 3 { // more pings than one interval needs
			last := s.Show(unit, "WatchdogTimestampMonotonic")
			s.WaitFor(unit, "WatchdogTimestampMonotonic", "later than "+last, func(v string) bool { return v != last })
		}
	}
	if n := s.Show(unit, "NRestarts"); n != "0" {
		t.Fatalf("the service was restarted %s times", n)
	}
	if err := unix.Kill(s.HostPID(unit), unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s.Wait(unit, "NRestarts", "1")
	s.reached(1)
	if log := s.Journal(unit); strings.Count(log, "Watchdog timeout") != 1 {
		t.Error("the journal should tell of one watchdog timeout")
	}
}

// upgradeTo upgrades until this generation is the main one. The first one is started by
// the first connection if it isn't running.
func (s service) upgradeTo(generation int) (main reply) {
	s.t.Helper()
	main, err := s.ask("tcp")
	if err != nil {
		s.t.Fatal(err)
	}
	for main.generation < generation {
		main = s.upgrade(main.generation + 1)
	}
	s.Wait(unit, "ActiveState", "active") // as reached does
	return main
}

// crash kills the main process, and waits for its end.
func (s service) crash() {
	s.t.Helper()
	fd, err := unix.PidfdOpen(s.HostPID(unit), 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		s.t.Fatal(err)
	}
	proctest.Until(s.t, "the main process to end", func() error {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if err == nil && n == 0 {
			err = errors.New("it is alive")
		}
		return err
	})
}

// statusSays waits until the unit's STATUS line has a text in it, or has it no more.
func (s service) statusSays(text string, want bool) {
	s.t.Helper()
	proctest.Until(s.t, fmt.Sprintf("a status with %q: %v", text, want), func() error {
		status := s.Show(unit, "StatusText")
		if strings.Contains(strings.ToLower(status), text) != want {
			return fmt.Errorf("the status is %q", status)
		}
		return nil
	})
}

// A slowRequest is answered after a while. It is in flight: its connection has had an
// answer before, and the request has been sent. Nobody repeats it, as http.Client would.
type slowRequest struct {
	t    testing.TB
	done chan error
}

func (s service) slowRequest(d time.Duration) *slowRequest {
	s.t.Helper()
	conn, err := s.DialContext(proctest.Context(s.t), "tcp", httpAddr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	in := bufio.NewReader(conn)
	if err := sendGet(conn, "/"); err != nil {
		s.t.Fatal(err)
	}
	if _, err := readAnswer(in); err != nil {
		s.t.Fatal(err)
	}
	if err := sendGet(conn, fmt.Sprintf("/slow?ms=%d", d.Milliseconds())); err != nil {
		s.t.Fatal(err)
	}
	r := &slowRequest{t: s.t, done: make(chan error, 1)}
	go func() {
		defer conn.Close() // an idle connection would be waited for
		text, err := readAnswer(in)
		if err == nil && !strings.Contains(text, "slept") {
			err = fmt.Errorf("the answer is %q", text)
		}
		r.done <- err
	}()
	return r
}

func sendGet(conn io.Writer, path string) error {
	_, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: graceful\r\n\r\n", path)
	return err
}

func readAnswer(in *bufio.Reader) (string, error) {
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// finished waits for the answer, which has to be whole.
func (r *slowRequest) finished() {
	r.t.Helper()
	if err := r.result(); err != nil {
		r.t.Errorf("a request in flight was lost: %v", err)
	}
}

// cut waits for the end of a request that nobody had the time to answer.
func (r *slowRequest) cut() {
	r.t.Helper()
	if r.result() == nil {
		r.t.Error("the request was answered")
	}
}

func (r *slowRequest) result() error {
	r.t.Helper()
	select {
	case err := <-r.done:
		return err
	case <-time.After(time.Until(proctest.Deadline(r.t))):
		r.t.Fatal("the request has neither an answer nor an end")
		return nil
	}
}
