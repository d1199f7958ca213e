//go:build linux

package prove

import (
	"encoding/json"
	"errors"
	"flag"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/internal/prove"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestMain(m *testing.M) {
	// A proof mostly waits: more of them than there are processors go well together.
	flag.Set("test.parallel", "6")
	proctest.Main(m)
}

const module = "github.com/handoff-dev/handoff"

// report runs handoff prove and returns its report, which has to fit its exit
// status.
func report(t *testing.T, args ...string) *prove.Report {
	t.Helper()
	out := filepath.Join(t.TempDir(), "report.json")
	p := proctest.Start(t, proctest.Command(proctest.Build(t, proctest.Program{Package: module + "/cmd/handoff"}),
		append([]string{"prove", "--out", out, "--pause=1s", "--window=500ms", "--upgrade-timeout=20s", "--count=3"}, args...)...))
	err := p.Wait()
	rep := new(prove.Report)
	readJSON(t, out, rep)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	if want, ok := map[prove.Verdict]int{prove.Proven: 0, prove.NoUpgrade: 0, prove.Failed: 1}[rep.Verdict]; ok && code != want || !ok && code != 3 {
		t.Errorf("exit status %d with the verdict %s", code, rep.Verdict)
	}
	t.Logf("%s: %s", rep.Verdict, rep.Summary)
	return rep
}

func readJSON(t *testing.T, file string, v any) {
	t.Helper()
	text := readFile(t, file)
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// proven fails the test for a report of anything but proof.
func proven(t *testing.T, rep *prove.Report) {
	t.Helper()
	if rep.Verdict != prove.Proven || len(rep.Upgrades) < 2 {
		t.Errorf("%s: %s", rep.Verdict, rep.Summary)
		tell(t, rep)
	}
}

func tell(t *testing.T, rep *prove.Report) {
	t.Helper()
	var text strings.Builder
	if err := rep.WriteText(&text); err != nil {
		t.Error(err)
	}
	t.Log(text.String())
}

// lost sums what was lost of some kinds by some shape; empty is any.
func lost(rep *prove.Report, shape string, kinds ...load.Kind) (n uint64) {
	for _, s := range rep.Shapes {
		for _, k := range kinds {
			if shape == "" || shape == s.Name {
				n += s.Failures[k]
			}
		}
	}
	return n
}

// soonAfterAnUpgrade fails the test for a failure at any other time.
func soonAfterAnUpgrade(t *testing.T, rep *prove.Report) {
	t.Helper()
	for _, f := range rep.Failures {
		if f.Upgrade == 0 || f.SinceUpgrade < 0 || f.SinceUpgrade > rep.Upgrades[f.Upgrade-1].Took+time.Second {
			t.Errorf("upgrade %d + %v: %s", f.Upgrade, f.SinceUpgrade, f.Error)
		}
	}
}

// says fails the test where no reason of what shape has lost has words in it.
func says(t *testing.T, rep *prove.Report, shape, words string) {
	t.Helper()
	for _, l := range rep.Losses {
		if l.Shape == shape && strings.Contains(l.Why, words) {
			return
		}
	}
	t.Errorf("no loss of %s says %q: %+v", shape, words, rep.Losses)
}

func awaitListener(p *proctest.Process, addr string) {
	p.Until("it listens", func() error {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err
	})
}
