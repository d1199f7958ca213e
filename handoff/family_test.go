//go:build unix

package handoff

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

func TestAnOrphanThatIsToUpgradeNamesItselfFirst(t *testing.T) {
	t.Parallel()
	pidFile := filepath.Join(t.TempDir(), "pid")
	u, err := New(Options{PIDFile: pidFile, Command: "/nonexistent/app", UpgradeSignals: []os.Signal{}, StopSignals: []os.Signal{}})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	conn, theirs, err := link.Pair()
	if err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	done := make(chan struct{})
	u.post(occurrence{run: func() {
		defer close(done)
		r := &relative{conn: conn}
		u.family.predecessor = r
		u.machine = machine{phase: phaseServing, awaiting: true, wanted: true}
		u.lost(r)
	}})
	<-done
	text, err := os.ReadFile(pidFile)
	if err != nil || strings.TrimSpace(string(text)) != strconv.Itoa(os.Getpid()) {
		t.Errorf("after the predecessor's death the PID file says %q (%v), not %d", text, err, os.Getpid())
	}
}
