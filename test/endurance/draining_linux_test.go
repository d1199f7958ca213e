package endurance

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestWhenTooManyGenerationsDrainTheOldestHasToHurryAndNoOther(t *testing.T) {
	const most, upgrades = 2, 6
	s := newSubject(t, buildProbe(t), true, "-max-draining", strconv.Itoa(most), "-drain", "2m")
	ended := make(chan int, upgrades+1) // pids, as their answers end
	var holds []int                     // pids, the oldest first
	var held []net.Conn
	hold := func() {
		pid, conn := s.hold(ended)
		holds, held = append(holds, pid), append(held, conn)
	}
	hold()
	for n := range upgrades {
		s.Reload()
		want := holds[:max(0, n+1-most)]
		proctest.Until(t, fmt.Sprintf("the oldest %d of %d draining generations hurry", len(want), n+1), func() error {
			if got := s.hurried(); !slices.Equal(got, want) {
				return fmt.Errorf("those that hurry are %v, want %v", got, want)
			}
			return nil
		})
		hold()
	}
	// Those that hurry are cut, in their order at most a few seconds later.
	for range upgrades - most {
		select {
		case pid := <-ended:
			if !slices.Contains(holds[:upgrades-most], pid) {
				t.Errorf("the answer of %d has ended; the generations are %v", pid, holds)
			}
		case <-time.After(time.Until(proctest.Deadline(t))):
			t.Fatal("a generation that has to hurry does not end")
		}
	}
	if got := s.hurried(); !slices.Equal(got, holds[:upgrades-most]) {
		t.Errorf("those that had to hurry are %v of %v", got, holds)
	}
	// The others have all their time.
	for _, pid := range holds[upgrades-most:] {
		if !s.Kill(pid, 0) {
			t.Errorf("process %d has ended too", pid)
		}
	}
	if n := strings.Count(s.First.Output(), "too many generations drain"); n != upgrades-most {
		t.Errorf("the log says %d times that somebody has to hurry, not %d", n, upgrades-most)
	}
	for _, conn := range held {
		conn.Close()
	}
	s.StopGroup()
}

var toldToHurry = regexp.MustCompile(`msg="told to hurry" pid=(\d+)`)

// hurried returns the pids of the generations that were told to hurry, each once, in
// the order in which they were first.
func (s *subject) hurried() (pids []int) {
	for _, m := range toldToHurry.FindAllStringSubmatch(s.First.Output(), -1) {
		pid, _ := strconv.Atoi(m[1])
		if !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// hold begins an answer that goes on until the generation that gives it has no more
// patience, and returns that one's pid; it is told to ended too, at the answer's end.
func (s *subject) hold(ended chan<- int) (pid int, conn net.Conn) {
	s.T.Helper()
	conn, err := net.Dial("tcp", s.HTTP)
	if err != nil {
		s.T.Fatal(err)
	}
	s.T.Cleanup(func() { conn.Close() })
	fmt.Fprint(conn, "GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		s.T.Fatal(err)
	}
	if pid, err = strconv.Atoi(resp.Header.Get("X-Pid")); err != nil {
		s.T.Fatal(err)
	}
	go func() {
		defer resp.Body.Close()
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		}
		ended <- pid
	}()
	return pid, conn
}
