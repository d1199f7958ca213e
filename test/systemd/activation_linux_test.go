package systemd

import (
	"maps"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestTheUnitFilesOfTheExampleWorkAsTheyAre(t *testing.T) {
	t.Parallel()
	s := install(t, httpSocket(t))
	s.startSockets(httpSocket(t))
	first := s.reached(1)
	second := s.upgrade(2)
	s.alone(second.pid)
	if first.pid == second.pid {
		t.Errorf("the pid is still %d", first.pid)
	}
}

func TestTheUnitInTheDocumentIsTheExamples(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/systemd.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```ini\n[Service]\n")
	shown, _, _ := strings.Cut(rest, "```")
	service := strings.SplitN(example(t, unit), "[Service]\n", 2)[1]
	service, _, _ = strings.Cut(service, "[Install]")
	var settings strings.Builder
	for line := range strings.Lines(service) {
		if line != "\n" && line[0] != '#' {
			settings.WriteString(line)
		}
	}
	if shown != settings.String() {
		t.Errorf("docs/systemd.md shows\n%s, the example has\n%s", shown, settings.String())
	}
}

func TestTheFirstConnectionStartsTheServiceOnTheSocketsOfAllUnitsByName(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"tcp", "unix", "udp"} {
		t.Run(first, func(t *testing.T) {
			t.Parallel()
			s := install(t, allSockets(t), flags(elsewhere...))
			s.startSockets(allSockets(t))
			units := s.sockets()
			if held := units.holds(t, s.PID()); len(units) != 3 || !maps.Equal(held, units) {
				t.Fatalf("systemd holds %v of the sockets %v, want all three", held, units)
			}
			if first == "udp" {
				if _, err := s.askUDP(); err != nil {
					t.Fatal(err)
				}
			} else if _, err := s.ask(first); err != nil {
				t.Fatal(err)
			}
			s.answersEverywhere(1)
			s.same(units)
		})
	}
}

// answersEverywhere checks that the main process, of this generation, answers on all
// three sockets.
func (s service) answersEverywhere(generation int) {
	s.t.Helper()
	want := s.reached(generation)
	if r, err := s.ask("unix"); err != nil || r != want {
		s.t.Fatalf("on the unix socket %+v answers (%v), want %+v", r, err, want)
	}
	if pid, err := s.askUDP(); err != nil || pid != want.pid {
		s.t.Fatalf("a datagram is answered by %d (%v), want %d", pid, err, want.pid)
	}
}

func TestARestartGoesOnWithTheSameSocketsAndRefusesNobody(t *testing.T) {
	t.Parallel()
	s := install(t, allSockets(t), flags(append(elsewhere, quick)...))
	s.startSockets(allSockets(t))
	s.reached(1)
	s.restarts()
}

// restarts restarts the service while there are requests.
func (s service) restarts() {
	s.t.Helper()
	units, before := s.sockets(), s.MainPID(unit)
	done := make(chan string, 1)
	go func() {
		out, code := s.Systemctl("restart", unit)
		if code == 0 {
			out = ""
		}
		done <- out
	}()
	for restarting := true; restarting; {
		if _, err := s.ask("tcp"); err != nil {
			s.t.Errorf("a request during the restart: %v", err)
		}
		select {
		case out := <-done:
			if out != "" {
				s.t.Fatalf("systemctl restart: %s", out)
			}
			restarting = false
		default:
		}
	}
	s.answersEverywhere(1)
	s.same(units)
	if s.MainPID(unit) == before {
		s.t.Error("the process is the same as before the restart")
	}
}

func TestTheUnixSocketOfAUnitIsNeverUnlinked(t *testing.T) {
	t.Parallel()
	s := install(t, allSockets(t), flags(append(elsewhere, quick)...))
	s.startSockets(allSockets(t))
	file := func() uint64 {
		t.Helper()
		info, err := os.Lstat(s.Path(unixPath))
		if err != nil {
			t.Fatal(err)
		}
		return info.Sys().(*syscall.Stat_t).Ino
	}
	want := file()
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"the start", func() { s.reached(1) }},
		{"an upgrade", func() { s.alone(s.upgrade(2).pid) }},
		{"a restart", func() { s.Do("restart", unit) }},
		{"an upgrade after it", func() { s.alone(s.upgrade(2).pid) }},
		{"a stop", func() { s.Do("stop", unit) }},
	} {
		step.do()
		if got := file(); got != want {
			t.Errorf("after %s the socket's file is another one", step.name)
		}
	}
	if r, err := s.ask("unix"); err != nil || r.generation != 1 {
		t.Errorf("after the stop a connection should start the service anew: %+v, %v", r, err)
	}
}

func TestWithoutASocketUnitTheServiceBindsItselfAndUpgrades(t *testing.T) {
	t.Parallel()
	s := install(t, ownSockets())
	s.Do("start", unit)
	own := s.sockets()
	if len(own) != 3 {
		t.Fatalf("the sockets are %v, want three", own)
	}
	s.answersEverywhere(1)
	for generation := 2; generation <= 4; generation++ {
		s.alone(s.upgrade(generation).pid)
		s.answersEverywhere(generation)
		s.same(own)
	}
}
