//go:build linux

package faults

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// Who serves after a fault.
const (
	theOld    = "old"
	theNew    = "new"
	either    = "old or new" // whose message comes first decides
	later     = "a later one"
	nobody    = "nobody"
	restarted = "works after a start anew"
	works     = "works"
)

// A scenario is one fault at one step, and what is to come of it.
type scenario struct {
	step, fault, who string
	manager          bool // with a service manager's NOTIFY_SOCKET
	short            bool // runs always

	flags []string
	// prepare runs before the start.
	prepare func(*service)
	// started changes the command that starts the service.
	started func(*service, *exec.Cmd)
	// inject brings the fault about. It returns when that is done.
	inject func(*service)
	// undo takes it back when its outcome is known.
	undo func(*service)

	serves string
	// loses names the generations that may lose what they had accepted: those that
	// die. "" is none.
	loses string
	// cause is in the log, and in the STATUS of the service manager if the upgrade
	// failed.
	cause string
	// next is what becomes of the next upgrade; "" is works, or restarted where
	// nobody serves.
	next string
	// leaves says what may be left behind in the end, and why; "" is nothing.
	leaves string
}

func (c *scenario) name() string {
	name := c.step + "/" + c.fault
	if c.who != "" {
		name += "/" + c.who
	}
	if c.manager {
		name += "/supervised"
	}
	return strings.ReplaceAll(name, " ", "-")
}

func (c *scenario) nextUpgrade() string {
	switch {
	case c.next != "":
		return c.next
	case c.serves == nobody:
		return restarted
	}
	return works
}

// atATime is how many cases run at a time. They mostly wait.
const atATime = 8

func TestEachFaultHasItsOutcome(t *testing.T) {
	long := os.Getenv("HANDOFF_TEST_LONG") == "1"
	victim(t, "1")
	cases := make(chan *scenario)
	var done sync.WaitGroup
	for range atATime {
		done.Go(func() {
			for c := range cases {
				t.Run(c.name(), func(t *testing.T) { run(t, c) })
			}
		})
	}
	for _, c := range scenarios() {
		if long || c.short {
			cases <- c
		}
	}
	close(cases)
	done.Wait()
	if long {
		updateTable(t)
	}
}

func TestEachCaseHasANameOfItsOwn(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range scenarios() {
		if seen[c.name()] {
			t.Errorf("two cases have the name %s", c.name())
		}
		seen[c.name()] = true
	}
	if len(seen) < 150 {
		t.Errorf("there are %d cases only", len(seen))
	}
}

func run(t *testing.T, c *scenario) {
	s := newService(t, c)
	if c.prepare != nil {
		c.prepare(s)
	}
	s.start(c.started)
	s.beforeTheFault()
	c.inject(s)
	s.settle()
	if c.undo != nil {
		c.undo(s)
	}
	s.checkManager()
	s.next()
	s.load.stop()
	s.checkLosses()
	s.stop()
	if c.leaves == "" {
		s.leftNothing()
	}
}

// settle waits for the outcome and checks it.
func (s *service) settle() {
	s.t.Helper()
	if s.c.serves == nobody {
		s.procs.gone()
		s.load.stop()
		if s.c.loses == "" { // one that is killed can't clean up
			s.leftNothing()
		}
	} else {
		s.awaitServing()
	}
	if s.c.cause != "" {
		s.awaitLog(s.c.cause)
	}
	if s.c.serves == theOld {
		// With no upgrade under way, and nothing left of it.
		s.sameDescriptors()
	}
}

func (s *service) awaitServing() {
	s.t.Helper()
	proctest.Until(s.t, "the service is served by: "+s.c.serves, func() error {
		pid, err := s.serving()
		if err != nil {
			return err
		}
		if role := s.role(pid); role != s.c.serves && (s.c.serves != either || role == later) {
			return fmt.Errorf("it is %s (%d)", role, pid)
		}
		main, err := s.main()
		if err == nil && main != pid && main != 1 {
			err = fmt.Errorf("the PID file names %d, %d serves", main, pid)
		}
		if err == nil && s.c.serves != theOld && s.c.serves != either && s.procs.alive(s.old) {
			err = errors.New("the old one has not ended")
		}
		return err
	})
}

// role says which generation a process is.
func (s *service) role(pid int) string {
	switch i := slices.Index(s.procs.all(), pid); {
	case pid == s.old || pid == 1:
		return theOld
	case i == 1:
		return theNew
	}
	return later
}

// checkManager checks what the service manager has heard.
func (s *service) checkManager() {
	s.t.Helper()
	if s.manager == nil {
		return
	}
	c := s.c
	if c.serves != nobody && s.manager.said("STOPPING=1") {
		s.t.Error("the service manager has heard STOPPING=1")
	}
	switch main := s.manager.heard("MAINPID"); {
	case c.serves == theOld && main != "" && main != strconv.Itoa(s.old):
		s.t.Errorf("the service manager has heard MAINPID=%s", main)
	case c.serves == theNew || c.serves == later:
		proctest.Until(s.t, "the service manager hears of the main process", func() error {
			pid, err := s.main()
			if heard := s.manager.heard("MAINPID"); err == nil && heard != strconv.Itoa(pid) {
				err = fmt.Errorf("it is %d, MAINPID=%s was sent", pid, heard)
			}
			return err
		})
	}
	if c.serves == theOld && c.cause != "" {
		proctest.Until(s.t, "the service manager hears of the cause", func() error {
			if !s.manager.said(c.cause) {
				return fmt.Errorf("the last status is %q", s.manager.heard("STATUS"))
			}
			return nil
		})
	}
}

// next checks that the next upgrade works, or a start where nobody is left.
func (s *service) next() {
	s.t.Helper()
	switch s.c.nextUpgrade() {
	case restarted:
		s.procs.close()
		again := *s
		again.start(nil)
		s.first, s.procs = again.first, again.procs
	case works:
	default:
		return
	}
	pid := s.upgrade()
	proctest.Until(s.t, "the next generation serves", func() error {
		who, err := s.serving()
		if main, merr := s.main(); err == nil && (merr != nil || who != main) {
			err = fmt.Errorf("%d does, not %d (%d, %v)", who, pid, main, merr)
		}
		return err
	})
}

// checkLosses checks that a connection was refused only where the service has
// ended, and a request lost only by a process that died.
func (s *service) checkLosses() {
	s.t.Helper()
	by, err := acceptedBy(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	// A process can die between accepting and writing down one connection, or two
	// when it has two sockets; and nobody accepts what waits when the service ends.
	unknown := 2
	if s.c.serves == nobody {
		unknown = 1 << 20
	} else if s.c.loses == "" {
		unknown = 0
	}
	for _, l := range s.load.stop() {
		pid, _ := strconv.Atoi(by[l.from])
		switch {
		case s.c.serves == nobody && (l.from == "" || l.kept && s.c.loses == ""):
			// A service that stops closes what has been idle for half a second, and on
			// a busy machine a client takes longer for its next request.
		case l.from == "":
			s.t.Errorf("%v: a connection was refused: %v", l.when, l.err)
		case pid == 0:
			if unknown--; unknown < 0 {
				s.t.Errorf("%v: a request was lost that nobody had accepted: %v", l.when, l.err)
			}
		case !strings.Contains(s.c.loses, s.role(pid)) && s.c.loses != "both":
			s.t.Errorf("%v: %s (%d) has lost a request: %v", l.when, s.role(pid), pid, l.err)
		}
	}
	if s.load.answered.Load() == 0 {
		s.t.Error("no request was answered at all")
	}
}
