package soak

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

var (
	seedFlag = flag.Uint64("soak.seed", 0, "seed of the decisions; 0 chooses one")
	timeFlag = flag.Duration("soak.time", 0, "how long it goes on; 0 is 20 s, or 5 minutes in a long run")
)

const (
	probation = 250 * time.Millisecond
	clock     = "15:04:05.000"
)

// A soak is a service under all that can be done to it.
type soak struct {
	*graceful.Server
	t       *testing.T
	scripts string          // directory of executables that are none
	loads   [3]*load.Runner // of the deciding goroutine
	ending  sync.WaitGroup  // what goes on beside it
	history []string        // its decisions

	mu          sync.Mutex
	main        int          // by the PID file
	been        map[int]bool // who has been the main generation
	losses      []*loss
	periods     []periodOfTime
	requests    uint64
	lost        int
	generations int
	broken      bool
}

type periodOfTime struct {
	begun time.Time
	rough bool
}

func TestRandomUpgradesAndFaultsCostNoRequestOfAProcessThatWasSpared(t *testing.T) {
	seed, length := *seedFlag, *timeFlag
	if seed == 0 {
		seed = rand.Uint64()>>1 + 1
	}
	if length == 0 {
		length = 20 * time.Second
		if proctest.Long() {
			length = 5 * time.Minute
		}
	}
	t.Logf("again with: go test ./test/soak -args -soak.seed %d -soak.time %v", seed, length)
	r := rand.New(rand.NewPCG(seed, 0))
	k := begin(t, r.IntN(2) == 1)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d; the last decisions:\n%s", seed, strings.Join(k.history[max(0, len(k.history)-60):], "\n"))
		}
	})
	stop, watched := make(chan struct{}), make(chan struct{})
	go func() { defer close(watched); k.watch(stop) }()
	for place := range k.loads {
		k.exchange(place, loads[r.IntN(len(loads))].name)
	}
	end := time.Now().Add(length)
	for n := 0; time.Now().Before(end) && !k.over(); n++ {
		d := decide(r, n)
		if n%period == 0 {
			k.settle(isRough(n))
		}
		k.note("%4d  %v", n, d)
		k.carryOut(d)
		time.Sleep(d.pause)
	}
	close(stop)
	<-watched
	k.finish()
	t.Logf("%d decisions, %d generations, %d requests, %d of them lost with %d processes that were struck or failed",
		len(k.history), k.generations, k.requests, k.lost, len(k.losses))
}

// begin starts the service, with a manager whose children its generations are, or
// without.
func begin(t *testing.T, supervised bool) *soak {
	k := &soak{
		Server:  graceful.New(t, ""),
		t:       t,
		scripts: t.TempDir(),
		been:    make(map[int]bool),
	}
	for _, version := range []string{"1", "2", "last"} {
		graceful.Build(t, version)
	}
	for _, version := range slices.Concat(failing, deadly) {
		k.executable(version)
	}
	k.Install(graceful.Build(t, "1"))
	cmd := proctest.Command(k.Path, append(k.Flags(), "-probation", probation.String(), "-ready-timeout", "2s", "-drain", "5s")...)
	if supervised {
		cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+graceful.Manager(t))
	}
	k.RunGroup(cmd)
	k.note("started with -supervised=%t", supervised)
	return k
}

func (k *soak) note(format string, args ...any) {
	k.history = append(k.history, time.Now().Format(clock)+"  "+fmt.Sprintf(format, args...))
}

// violated ends the soak: what comes after a broken rule says little.
func (k *soak) violated(format string, args ...any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.violatedLocked(format, args...)
}

func (k *soak) violatedLocked(format string, args ...any) {
	if !k.broken {
		k.t.Errorf("%s: %s", time.Now().Format(clock), fmt.Sprintf(format, args...))
	}
	k.broken = true
}

func (k *soak) over() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.broken
}

// executable returns the file of a version, "" for the one that isn't there.
func (k *soak) executable(version string) string {
	script := func(content string, mode os.FileMode) string {
		path := filepath.Join(k.scripts, version)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			k.t.Fatal(err)
		}
		return path
	}
	switch version {
	case "1", "2", "last":
		return graceful.Build(k.t, version)
	case "missing":
		return ""
	case "not-executable":
		return script("#!/bin/sh\n", 0o644)
	case "no-format":
		return script("\x7fELF", 0o755)
	}
	return graceful.Faulty(k.t, version)
}

// putInPlace makes a version the one that the next upgrade starts.
func (k *soak) putInPlace(version string) {
	if path := k.executable(version); path != "" {
		k.Install(path)
	} else if err := os.Remove(k.Path); err != nil && !os.IsNotExist(err) {
		k.t.Fatal(err)
	}
}

// choose takes one of some, by a number from 0 to 1.
func choose(from []int, which float64) int { return from[int(which*float64(len(from)))] }

func (k *soak) carryOut(d decision) {
	main, draining, successors := k.candidates()
	switch d.do {
	case upgrade, failedUpgrade, deadlyUpgrade:
		k.putInPlace(d.arg)
		k.Kill(main, unix.SIGHUP)
	case storm:
		all := slices.Concat([]int{main}, draining, successors)
		for i := range d.times {
			k.Kill(all[(int(d.which*float64(len(all)))+i)%len(all)], unix.SIGHUP)
		}
	case changeLoad:
		k.exchange(int(d.which*float64(len(k.loads))), d.arg)
	case openStream:
		k.stream(10 * d.after)
	case lull:
		k.lull()
	case killSuccessor:
		k.putInPlace(d.arg)
		k.Kill(main, unix.SIGHUP)
		time.Sleep(d.after) // whatever it is at then
		k.killSuccessor()
	case suspend, killDraining, hurryDraining:
		if len(draining) == 0 {
			k.note("      nobody drains")
			return
		}
		pid := choose(draining, d.which)
		k.note("      that is %d", pid)
		switch d.do {
		case suspend:
			if k.Kill(pid, unix.SIGSTOP) {
				k.ending.Go(func() {
					time.Sleep(2 * d.after)
					k.Kill(pid, unix.SIGCONT)
				})
			}
		case killDraining:
			k.strike(pid, "killed")
			k.Kill(pid, unix.SIGKILL)
		case hurryDraining:
			k.strike(pid, "told to hurry") // connections that are idle then are closed
			k.Kill(pid, unix.SIGTERM)
		}
	}
}

// killSuccessor kills the successor in whatever phase it is, but for the very end of
// its probation: who dies in the instant in which it takes over is the main generation
// that dies, and nobody is left. The main generation is stopped meanwhile, so that
// it can't commit between the look and the kill.
func (k *soak) killSuccessor() {
	main, _, successors := k.candidates()
	if len(successors) == 0 {
		k.note("      there is no successor")
		return
	}
	pid := successors[len(successors)-1]
	if !k.Kill(main, unix.SIGSTOP) {
		return
	}
	defer k.Kill(main, unix.SIGCONT)
	proctest.Until(k.t, "the main generation is stopped", func() error {
		for _, p := range k.Processes() {
			if p.PID == main && p.State != 'T' {
				return fmt.Errorf("it is %v", p)
			}
		}
		return nil
	})
	if now, err := k.ReadPID(); err != nil || now != main {
		k.note("      it has taken over")
		return
	}
	if since := k.readySince(pid); !since.IsZero() && time.Since(since) > probation-100*time.Millisecond {
		k.note("      it is about to take over")
		return
	}
	k.note("      that is %d", pid)
	k.strike(pid, "killed")
	k.Kill(pid, unix.SIGKILL)
}

// readySince returns when a successor was ready by its predecessor's log.
func (k *soak) readySince(pid int) (at time.Time) {
	suffix := fmt.Sprintf(" successor=%d", pid)
	for line := range strings.Lines(k.First.Output()) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, `msg="successor is ready"`) && strings.HasSuffix(line, suffix) {
			text, _, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
			at, _ = time.Parse(time.RFC3339Nano, text)
		}
	}
	return at
}

// stream follows an answer that takes its time, so that somebody drains. Who gives
// it may be struck; nobody complains.
func (k *soak) stream(length time.Duration) {
	conn, err := net.Dial("tcp", k.HTTP)
	if err != nil {
		k.violated("a stream: %v", err)
		return
	}
	fmt.Fprintf(conn, "GET /stream?ms=%d HTTP/1.0\r\n\r\n", length.Milliseconds())
	k.ending.Go(func() {
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(length + 10*time.Second))
		io.Copy(io.Discard, conn)
	})
}

// lull sees whether the service answers without the help of another upgrade.
func (k *soak) lull() {
	proctest.Until(k.t, "no upgrade is under way", func() error {
		if _, _, successors := k.candidates(); len(successors) > 0 {
			return fmt.Errorf("there are the successors %v", successors)
		}
		return nil
	})
	if _, err := k.Get("/"); err != nil {
		k.violated("no upgrade is under way, and the service does not answer: %v", err)
	}
}

// settle begins a period: nobody is left who was struck in the one before.
func (k *soak) settle(rough bool) {
	k.lull()
	k.putInPlace("1")
	proctest.Until(k.t, "those that were struck have ended", func() error {
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, l := range k.losses {
			if l.to.IsZero() && !k.broken {
				return fmt.Errorf("process %d (%s) lives", l.pid, l.why)
			}
		}
		k.periods = append(k.periods, periodOfTime{time.Now(), rough})
		return nil
	})
}

// finish ends the load and sees whether all is as it should be.
func (k *soak) finish() {
	for _, r := range k.loads {
		k.ending.Go(func() { k.judge(r.Stop()) })
	}
	k.ending.Wait()
	k.note("no load any more")
	if k.over() {
		for _, p := range k.Processes() {
			k.Kill(p.PID, unix.SIGKILL)
		}
		return
	}
	k.putInPlace("last")
	k.note("the end")
	proctest.Until(k.t, "an upgrade works after all", func() error {
		k.Kill(k.Main(), unix.SIGHUP)
		body, err := k.Get("/")
		if err == nil && !strings.Contains(body, "version=last") {
			err = fmt.Errorf("it says %q", body)
		}
		return err
	})
	k.note("the last version serves")
	k.quiet()
	k.note("it is alone")
	k.StopGroup()
	k.note("it has ended")
	files, err := os.ReadDir(k.Dir)
	if err != nil || len(files) != 1 || files[0].Name() != filepath.Base(k.Path) {
		k.t.Errorf("left in the service's directory: %v, error %v", files, err)
	}
	for _, word := range []string{"DATA RACE", "panic:", "fatal error:"} {
		if strings.Contains(k.First.Output(), word) {
			k.t.Errorf("the log has %q", word)
		}
	}
}

// quiet waits until the upgrades are done that the signals at the end have asked for.
func (k *soak) quiet() {
	since, last := time.Now(), 0
	proctest.Until(k.t, "one process is left, and stays", func() error {
		all := k.Processes()
		if len(all) != 1 || all[0].PID != last {
			since, last = time.Now(), 0
			if len(all) == 1 {
				last = all[0].PID
			}
			return fmt.Errorf("there are %v", all)
		}
		if time.Since(since) < probation {
			return fmt.Errorf("%v for a short time", all)
		}
		return nil
	})
}
