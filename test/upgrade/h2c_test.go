//go:build linux

package upgrade

import (
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// net/http looks for the preface of HTTP/2 first, and reads again after a read that was
// given up. An answer mixed of two processes would be a wrong echo.
func TestAServerWithHTTP1AndUnencryptedHTTP2LosesNoRequest(t *testing.T) {
	const upgrades, body = 20, 60000
	s := graceful.New(t, "")
	s.Install(proctest.Build(t, proctest.Program{Package: "./h2c"}))
	s.Run(proctest.Command(s.Path, "-http", s.HTTP, "-pid-file", s.PIDFile))
	http1 := load.Target{Addr: s.HTTP}
	g, err := load.StartGroup(t.Context(),
		load.Config{Target: http1, Shape: load.LateFirstByte(20 * time.Millisecond), Workers: 12, BodySize: body, Timeout: 30 * time.Second},
		load.Config{Target: http1, Shape: load.Think(300 * time.Millisecond), Workers: 8, BodySize: body, Timeout: 30 * time.Second},
		load.Config{Target: http1, Shape: load.KeepAlive(), Workers: 2, BodySize: body, Timeout: 30 * time.Second},
		load.Config{Target: http1, Shape: load.SlowPost(20 * time.Millisecond), Workers: 4, Timeout: 30 * time.Second},
		load.Config{Target: load.Target{Addr: s.HTTP, Proto: load.H2C}, Shape: load.Think(20 * time.Millisecond), Workers: 2, Timeout: 30 * time.Second},
	)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.AwaitFirstAnswer(t.Context(), time.Time{}); err != nil {
		t.Fatal(err)
	}
	for range upgrades {
		sent := time.Now()
		g.Mark(sent, "upgrade")
		s.Reload()
		if _, err := g.AwaitFirstAnswer(t.Context(), sent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond) // for the clients to do something
	}
	r := g.Stop()
	s.Stop()
	graceful.NoLoss(t, r)
	if len(r.PIDs) != upgrades+1 {
		t.Errorf("%d processes have answered, not %d", len(r.PIDs), upgrades+1)
	}
}
