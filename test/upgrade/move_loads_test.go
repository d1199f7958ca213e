//go:build linux

package upgrade

import (
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// TestTwoHundredClientsDoNotNoticeFiftyUpgrades is
// TestPlainHTTPClientsDoNotNoticeAnUpgrade at full length: each client has one
// connection from the first to the last of its numbered POSTs.
func TestTwoHundredClientsDoNotNoticeFiftyUpgrades(t *testing.T) {
	proctest.RequireLong(t)
	const workers, upgrades = 200, 50
	for _, shape := range []load.Shape{
		{Name: "no think time"},
		{Name: "0-1 ms", Think: time.Millisecond},
		{Name: "0-20 ms", Think: 20 * time.Millisecond},
		{Name: "0-4 s", Think: 4 * time.Second},
		{Name: "slow POST", Pause: 20 * time.Millisecond, Think: 20 * time.Millisecond},
	} {
		t.Run(shape.Name, func(t *testing.T) {
			s := graceful.New(t, "")
			s.Install(graceful.BuildPlain(t, "1"))
			s.Run(proctest.Command(s.Path, s.Flags()...))
			r, err := load.Start(t.Context(), load.Config{Target: load.Target{Addr: s.HTTP}, Shape: shape, Workers: workers, Timeout: 30 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.AwaitFirstAnswer(proctest.Context(t), time.Time{}); err != nil {
				t.Fatal(err)
			}
			for n := range upgrades {
				sent := time.Now()
				r.Mark(sent, "upgrade")
				s.Install(graceful.BuildPlain(t, string("21"[n%2])))
				s.Reload()
				if _, err := r.AwaitFirstAnswer(proctest.Context(t), sent); err != nil {
					t.Fatal(err)
				}
				time.Sleep(100 * time.Millisecond) // for the clients to do something
			}
			result := r.Stop()
			s.Stop()
			graceful.NoLoss(t, result)
			if result.Reconnects > 0 || result.Connections != workers {
				t.Errorf("%d connections were opened for %d clients, %d were ended by the server", result.Connections, workers, result.Reconnects)
			}
		})
	}
}
