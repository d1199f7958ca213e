//go:build linux

package upgrade

import (
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/graceful"
)

func TestPlainHTTPClientsDoNotNoticeAnUpgrade(t *testing.T) {
	for _, transport := range []struct {
		name   string
		target func(*graceful.Server) load.Target
	}{
		{"TCP", func(s *graceful.Server) load.Target { return load.Target{Addr: s.HTTP} }},
		{"Unix", func(s *graceful.Server) load.Target { return load.Target{Network: "unix", Addr: s.Unix} }},
	} {
		t.Run(transport.name, func(t *testing.T) {
			s := graceful.Start(t)
			var cfgs []load.Config
			for _, shape := range []load.Shape{
				load.KeepAlive(), load.Think(time.Millisecond), load.Think(20 * time.Millisecond), load.Think(4 * time.Second), load.SlowPost(20 * time.Millisecond),
			} {
				cfgs = append(cfgs, load.Config{Target: transport.target(s), Shape: shape, Workers: 8})
			}
			g, err := load.StartGroup(t.Context(), cfgs...)
			if err != nil {
				t.Fatal(err)
			}
			for range 20 {
				g.Mark(time.Now(), "upgrade")
				s.Upgrade()
			}
			r := g.Stop()
			s.Stop()
			graceful.NoLoss(t, r)
			if r.Reconnects > 0 || r.Connections > 5*8 {
				t.Errorf("%d connections were opened for 40 clients, %d were ended by the server", r.Connections, r.Reconnects)
			}
		})
	}
}
