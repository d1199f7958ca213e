//go:build linux

package prove

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

// report is the part of the command's report that is of interest here.
type report struct {
	Verdict, Summary string
	Total            struct{ OK, Failed, Retryable, Reconnects uint64 }
}

func prove(t *testing.T, url string, s *graceful.Server) (r report) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "report.json")
	command := proctest.Build(t, proctest.Program{Package: "./cmd/handoff", Dir: "../../.."})
	p := proctest.Start(t, proctest.Command(command, "prove", "--url="+url, "--out="+out, "--rate=100", "--count=3",
		"--pause=1s", "--window=500ms", "--upgrade=kill -HUP $(cat "+s.PIDFile+")"))
	p.Wait() // the report tells what its status does
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %s %+v", r.Verdict, r.Summary, r.Total)
	return r
}

func TestAGRPCServerIsProvenByItsHealth(t *testing.T) {
	t.Parallel()
	s := graceful.New(t, "")
	s.Install(proctest.Build(t, proctest.Program{Package: "github.com/handoff-dev/handoff/examples/grpc"}))
	s.RunGroup(proctest.Command(s.Path, "-addr", s.HTTP, "-pid-file", s.PIDFile, "-probation", "-1s"))
	r := prove(t, "grpc://"+s.HTTP, s)
	s.StopGroup()
	if r.Verdict != "proven" || r.Total.Reconnects+r.Total.Retryable < 3 {
		t.Errorf("%+v", r)
	}
}

func TestAWebSocketServerIsProvenByItsEcho(t *testing.T) {
	t.Parallel()
	s := graceful.New(t, "")
	s.Install(proctest.Build(t, proctest.Program{Package: "../websocket/server"}))
	s.RunGroup(proctest.Command(s.Path, "-addr", s.HTTP, "-pid-file", s.PIDFile, "-work", filepath.Join(s.Dir, "work")))
	r := prove(t, "ws://"+s.HTTP, s)
	s.StopGroup()
	if r.Verdict != "proven" || r.Total.Reconnects < 3 {
		t.Errorf("%+v", r)
	}
}
