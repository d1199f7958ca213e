//go:build linux

package upgrade

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
	"golang.org/x/sys/unix"
)

// allowDescriptors raises RLIMIT_NOFILE, of this process and of what it starts, as
// far as the hard limit lets it. It bounds the descriptors that are on their way
// between processes too, see ETOOMANYREFS in unix(7).
func allowDescriptors(t *testing.T, n uint64) {
	t.Helper()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if was.Cur >= n {
		return
	}
	now := unix.Rlimit{Cur: n, Max: max(n, was.Max)} // more than the maximum only for root
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: now.Cur, Max: now.Max}); err != nil {
		proctest.Missing(t, "%d descriptors are needed, RLIMIT_NOFILE allows %d: %v", n, was.Max, err)
	}
	t.Cleanup(func() {
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: was.Cur, Max: now.Max})
	})
}

// resident returns a line of /proc/PID/status about memory, in MiB.
func resident(t *testing.T, pid int, line string) string {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), line+":")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d MiB", kib>>10)
}

// steps are the instants that the log of a generation tells.
var (
	upgraded = regexp.MustCompile(`time=(\S+) .*msg=upgraded .*generation=1 `)
	moved    = regexp.MustCompile(`msg="idle connections have moved" .*connections=(\d+) took=(\S+)`)
)

func TestTenThousandIdleConnectionsMoveAndTheOldGenerationEnds(t *testing.T) {
	const n = 10000
	if testing.Short() {
		t.Skip("opens 10,000 connections")
	}
	allowDescriptors(t, n+1000)
	s := graceful.New(t, "")
	s.Install(graceful.BuildPlain(t, "1"))
	s.Run(proctest.Command(s.Path, s.Flags()...))
	old := s.Main()
	clients := make([]*talker, n)
	for i := range clients {
		clients[i] = talk(t, s)
		if i < n/2 { // the others are idle from the start, and last: the server waits 10 s for their headers
			clients[i].must(t, old)
		}
	}
	clients[0].must(t, old) // who came before it has been accepted
	before := resident(t, old, "VmRSS")

	s.Install(graceful.BuildPlain(t, "2"))
	pid := s.Reload()
	select {
	case <-s.First.Exited():
	case <-time.After(time.Until(proctest.Deadline(t))):
		t.Fatal("the old generation does not end")
	}
	gone := time.Now()
	after := resident(t, pid, "VmRSS")
	for _, c := range clients {
		c.must(t, pid)
	}

	log := s.First.Output()
	commit, count := upgraded.FindStringSubmatch(log), moved.FindStringSubmatch(log)
	if commit == nil || count == nil {
		t.Fatalf("the log does not tell of the move:\n%s", log)
	}
	handed, err := time.Parse(time.RFC3339Nano, commit[1])
	if err != nil {
		t.Fatal(err)
	}
	took, err := time.ParseDuration(count[2])
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s connections moved in %v; the old generation was gone %v after the commit, %v after the last had moved; resident: old %s, new %s",
		count[1], took, gone.Sub(handed), gone.Sub(handed)-took, before, after)
	if count[1] != strconv.Itoa(n) {
		t.Errorf("%s connections have moved, not %d", count[1], n)
	}
	// Two idle cores need less than a tenth of a second; those of a test have other work too.
	if limit := 5 * time.Second; gone.Sub(handed) > limit {
		t.Errorf("the old generation was gone %v after the commit, want less than %v", gone.Sub(handed), limit)
	}
	for _, c := range clients {
		c.Close()
	}
	s.Stop()
}
