package systemd

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestTwentyCrashesUnderLoadRefuseNoConnection(t *testing.T) {
	t.Parallel()
	crashes := map[string]string{
		unit + ".d/crashes.conf": "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=always\nRestartSec=50ms\n",
	}
	s := install(t, ownSockets(), crashes)
	s.Do("start", unit)
	own := s.sockets()
	g := s.load(t, load.NewConn())
	for n := 1; n <= 20; n++ {
		crashed := time.Now()
		s.crash()
		s.Wait(unit, "NRestarts", strconv.Itoa(n))
		s.Wait(unit, "ActiveState", "active")
		if _, err := g.AwaitFirstAnswer(proctest.Context(t), crashed); err != nil {
			t.Fatalf("nobody new answers after crash %d: %v", n, err)
		}
	}
	r := g.Stop()
	t.Logf("%d requests, %v failed, slowest %v", r.Requests, r.Failures, r.Steady.Max)
	for kind, n := range r.Failures {
		if kind != load.Reset && kind != load.EOF { // those that a killed process had accepted
			t.Errorf("%d requests failed: %v", n, kind)
		}
	}
	if len(r.PIDs) < 21 {
		t.Errorf("only %d processes have answered, want 21", len(r.PIDs))
	}
	s.answersEverywhere(1)
	s.same(own)
}

// stored waits until the store has a number of descriptors.
func (s service) stored(n int) {
	s.t.Helper()
	s.Wait(unit, "NFileDescriptorStore", strconv.Itoa(n))
}

func TestTheStoreHasNoDoublesAfterTenUpgrades(t *testing.T) {
	t.Parallel()
	s := install(t, ownSockets())
	s.Do("start", unit)
	const all = 4 // three sockets, and the index
	s.stored(all)
	for generation := 2; generation <= 11; generation++ {
		s.upgrade(generation)
		// A barrier: what the new generation has to store comes before its next status.
		s.alone(s.MainPID(unit))
		s.statusSays("drain", false)
		s.stored(all)
	}
	s.crash()
	s.answersEverywhere(1)
	s.stored(all)
}

func TestAProgramGetsBackWhatItHasStored(t *testing.T) {
	t.Parallel()
	const door = "/run/keeper.sock"
	s := installKeeper(t, httpSocket(t), flags("-count", "-client="+door))
	s.startSockets(httpSocket(t))
	s.reached(1)
	conn, err := s.DialContext(proctest.Context(t), "unix", door)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const all = 4 // the number, the connection, the socket of its own, and the index
	s.stored(all)
	in := bufio.NewReader(conn)
	files := s.files()
	for n, step := range []func(){
		func() {},
		func() { s.upgrade(2) },
		func() { s.crash() },
		func() { s.upgrade(2) },
		func() { s.upgrade(3) },
		func() { s.Do("restart", unit) },
		func() { s.crash() },
	} {
		step()
		s.Wait(unit, "ActiveState", "active")
		c := s.client("tcp")
		if text, err := fetch(c, "/count"); err != nil || text != fmt.Sprintln(n+1) {
			t.Errorf("step %d: the number is %q (%v), want %d", n, text, err, n+1)
		}
		line := fmt.Sprintf("step-%d", n)
		if _, err := fetch(c, "/send?text="+line); err != nil {
			t.Fatalf("step %d: %v", n, err)
		}
		if err := conn.SetDeadline(proctest.Deadline(t)); err != nil {
			t.Fatal(err)
		}
		if text, err := in.ReadString('\n'); text != line+"\n" {
			t.Errorf("step %d: the connection has %q (%v), want %q", n, text, err, line)
		}
		c.CloseIdleConnections()
		for _, name := range []string{"count", "client"} {
			if now := s.files()[name]; len(now) != 1 || now[0] != files[name][0] && name == "count" {
				t.Errorf("step %d: %s is %q, it was %q", n, name, now, files[name])
			}
		}
		s.stored(all)
	}
	// A connection whose peer has gone is no state.
	conn.Close()
	s.stored(all - 1)
	s.crash()
	s.reached(1)
	if now := s.files()["client"]; len(now) != 0 {
		t.Errorf("a closed connection came back: %q", now)
	}
	s.stored(all - 1)
}

// As long as systemd has it, too, a connection that the service closes is open to its peer.
func TestAStoredConnectionEndsWhenTheServiceClosesIt(t *testing.T) {
	t.Parallel()
	const door = "/run/keeper.sock"
	for generation := 1; generation <= 2; generation++ {
		t.Run(fmt.Sprintf("in generation %d", generation), func(t *testing.T) {
			t.Parallel()
			s := installKeeper(t, httpSocket(t), flags("-client="+door))
			s.startSockets(httpSocket(t))
			s.reached(1)
			conn, err := s.DialContext(proctest.Context(t), "unix", door)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			const all = 3 // the connection, the socket of its own, and the index
			s.stored(all)
			if generation == 2 {
				s.alone(s.upgrade(2).pid)
				s.stored(all)
			}
			c := s.client("tcp")
			defer c.CloseIdleConnections()
			if _, err := fetch(c, "/hangup"); err != nil {
				t.Fatal(err)
			}
			if err := conn.SetDeadline(proctest.Deadline(t)); err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(conn); err != nil || len(text) > 0 {
				t.Errorf("the peer reads %q, %v, want its end", text, err)
			}
			s.stored(all - 1)
		})
	}
}

func TestAChangedAddressCountsAfterARestart(t *testing.T) {
	t.Parallel()
	const before, after = "127.0.0.1:8090", httpAddr
	for name, again := range map[string]func(service){
		"by systemctl restart": func(s service) { s.Do("restart", unit) },
		"after a crash":        func(s service) { s.crash(); s.Wait(unit, "NRestarts", "1") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := install(t, flags("-http="+before, quick))
			s.Do("start", unit)
			if _, err := s.generationAt(before); err != nil {
				t.Fatal(err)
			}
			s.stored(2)
			for name, text := range flags("-http="+after, quick) {
				s.WriteFile("/run/sdbox/units/"+name, []byte(text), 0o644)
			}
			s.Do("daemon-reload")
			again(s)
			s.Wait(unit, "ActiveState", "active")
			s.reached(1)
			s.stored(2)
			if r, err := s.generationAt(before); err == nil {
				t.Errorf("on the old address %+v still answers", r)
			} else if !strings.Contains(err.Error(), "refused") {
				t.Errorf("on the old address: %v, want that it is refused", err)
			}
			s.alone(s.upgrade(2).pid)
		})
	}
}

func TestAUnixSocketOfItsOwnIsThereAfterARestart(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]func(service){
		"by systemctl restart": func(s service) { s.Do("restart", unit) },
		"after a crash":        func(s service) { s.crash(); s.Wait(unit, "NRestarts", "1") },
		"after an upgrade":     func(s service) { s.alone(s.upgrade(2).pid); s.Do("restart", unit) },
		"with a deleted file": func(s service) {
			if err := os.Remove(s.Path(unixPath)); err != nil {
				s.t.Fatal(err)
			}
			s.crash()
			s.Wait(unit, "NRestarts", "1")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := install(t, ownSockets())
			s.Do("start", unit)
			s.answersEverywhere(1)
			again(s)
			s.Wait(unit, "ActiveState", "active")
			s.answersEverywhere(1)
			s.stored(4)
			if found := s.sockets(); len(found) != 3 {
				t.Errorf("the sockets are %v, want three", found)
			}
		})
	}
}
