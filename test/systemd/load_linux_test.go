package systemd

import (
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// load puts counted load on the service's TCP socket, and waits until it is answered.
func (s service) load(t *testing.T, shapes ...load.Shape) load.Group {
	t.Helper()
	var cfgs []load.Config
	for _, shape := range shapes {
		cfgs = append(cfgs, load.Config{
			Target: load.Target{Addr: httpAddr, Dial: s.DialContext},
			Shape:  shape, Workers: 3, Rate: 150,
		})
	}
	g, err := load.StartGroup(t.Context(), cfgs...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Stop() })
	if _, err := g.AwaitFirstAnswer(proctest.Context(t), time.Time{}); err != nil {
		t.Fatal(err)
	}
	return g
}

// noLoss ends the load, and fails the test for each request that was lost.
func noLoss(t *testing.T, g load.Group) {
	t.Helper()
	r := g.Stop()
	t.Logf("%d requests on %d connections, %d failed; slowest %v", r.Requests, r.Connections, r.Failed, r.Steady.Max)
	if r.Failed > 0 || r.OK == 0 {
		t.Errorf("%d requests answered, failed: %v", r.OK, r.Failures)
		for _, f := range r.Errors {
			t.Errorf("  %v %s: %s", f.Time.Format("15:04:05.000"), f.Shape, f.Error)
		}
	}
}
