//go:build linux

package datagrams

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestEachFlowIsAnsweredByItsOwnGeneration(t *testing.T) {
	for choice, flags := range choices {
		for _, network := range []string{"udp", "udp6", "unixgram"} {
			t.Run(choice+"/"+network, func(t *testing.T) {
				t.Parallel()
				s := start(t, network, append(flags, "-flows", "-probation", "10ms")...)
				a := s.open(t, "a", 1)
				s.Reload()
				s.awaitReader(t, 2)
				a.send("hello", 1)
				b := s.open(t, "b", 2)
				second := s.Generation(s.Main())
				s.Reload()
				s.awaitReader(t, 3)
				c := s.open(t, "c", 3)
				for n := range 100 {
					a.send(fmt.Sprint(n), 1)
					b.send(fmt.Sprint(n), 2)
					c.send(fmt.Sprint(n), 3)
				}
				a.send(strings.Repeat("x", 20000), 1)
				// Each ends with its last flow, and without delay.
				b.send("bye", 2)
				second.Wait()
				a.send("hello", 1)
				a.send("bye", 1)
				if err := s.First.Wait(); err != nil {
					t.Error(err)
				}
				c.send("hello", 3)
				s.open(t, "d", 3).send("bye", 3)
				// A service that stops reads on for the flows that are left.
				s.Signal(s.Main(), syscall.SIGTERM)
				c.send("hello", 3)
				c.send("bye", 3)
				s.Gone()
			})
		}
	}
}

func TestAFlowOutlivesProbations(t *testing.T) {
	for choice, reader := range map[string]int{"AtReady": 2, "AtCommit": 1} {
		t.Run(choice, func(t *testing.T) {
			t.Parallel()
			s := start(t, "udp", append([]string{"-flows", "-hold", "-probation", "-1s"}, choices[choice]...)...)
			a := s.open(t, "a", 1)
			for n, outcome := range []string{"unwell", "unwell", "ok"} {
				old := s.begin(t)
				for range 20 {
					a.send("hello", 1)
				}
				s.open(t, fmt.Sprint("new", n), reader).send("bye", reader)
				s.end(t, outcome)
				if outcome == "ok" {
					s.AwaitSuccessor(old)
					continue
				}
				s.First.Until("the upgrade has failed", func() error {
					if strings.Count(s.First.Output(), "msg=\"upgrade failed\"") < n+1 {
						return fmt.Errorf("it is under way")
					}
					return nil
				})
				a.send("hello", 1)
				s.open(t, fmt.Sprint("newer", n), 1).send("bye", 1)
			}
			s.awaitReader(t, 2)
			a.send("hello", 1)
			b := s.open(t, "b", 2)
			a.send("bye", 1)
			if err := s.First.Wait(); err != nil {
				t.Error(err)
			}
			b.send("bye", 2)
			s.Stop()
		})
	}
}

func TestWhatBelongsToADeadGenerationIsTheNewests(t *testing.T) {
	t.Parallel()
	s := start(t, "udp", "-flows", "-probation", "-1s")
	s.Reload()
	a := s.open(t, "a", 2)
	second := s.Generation(s.Main())
	s.Reload()
	a.send("hello", 2)
	second.Stop(syscall.SIGKILL)
	var got string
	proctest.Until(t, "somebody says that nobody knows the flow", func() error {
		if got = ask(t, a.conn, "2 a hello"); got != "3 unknown" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
	s.Reload()
	if got = ask(t, a.conn, "2 a hello"); got != "4 unknown" {
		t.Errorf("got %q", got)
	}
	s.Stop()
}

// The socket's queue and the ways to the older generations are in the one that drains,
// which starts its version again. (Options.Readopt)
func TestFlowsGoOnThroughAReadoptedGeneration(t *testing.T) {
	for choice, flags := range choices {
		t.Run(choice, func(t *testing.T) {
			t.Parallel()
			s := start(t, "udp", append(flags, "-flows", "-readopt", "-beside", "-probation", "-1s")...)
			a := s.open(t, "a", 1)
			s.Reload()
			s.awaitReader(t, 2)
			b := s.open(t, "b", 2)
			second := s.Generation(s.Main())
			s.Reload()
			s.awaitReader(t, 3)
			c := s.open(t, "c", 3)
			dead := s.Main()
			s.Generation(dead).Stop(syscall.SIGKILL)
			a.send("hello", 1) // it may wait in the queue for somebody who reads it
			b.send("hello", 2)
			s.AwaitSuccessor(dead)
			if got := ask(t, c.conn, "3 c hello"); got != "4 unknown" {
				t.Errorf("a flow of the dead generation is answered by %q", got)
			}
			d := s.open(t, "d", 4)
			for n := range 20 {
				a.send(fmt.Sprint(n), 1)
				b.send(fmt.Sprint(n), 2)
				d.send(fmt.Sprint(n), 4)
			}
			// The ways go on to the next generation.
			s.Reload()
			s.awaitReader(t, 5)
			e := s.open(t, "e", 5)
			a.send("hello", 1)
			b.send("bye", 2)
			second.Wait()
			a.send("bye", 1)
			if err := s.First.Wait(); err != nil {
				t.Error(err)
			}
			d.send("bye", 4)
			e.send("bye", 5)
			s.Stop()
		})
	}
}

// Flows that don't end are given up with the rest at the end of the drain.
func TestAFlowThatDoesNotEndHoldsNobodyForEver(t *testing.T) {
	t.Parallel()
	s := start(t, "udp", "-flows", "-probation", "-1s", "-drain", "100ms")
	s.open(t, "a", 1)
	s.Reload()
	if err := s.First.Wait(); err != nil {
		t.Error(err)
	}
	s.Stop()
}
