//go:build linux

package upgrade

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/graceful"
)

func TestTwentyUpgradesLoseNoRequest(t *testing.T) {
	insecure := &tls.Config{InsecureSkipVerify: true} // the server makes its certificate itself
	for _, transport := range []struct {
		name   string
		target func(*graceful.Server) load.Target
	}{
		{"HTTP", func(s *graceful.Server) load.Target { return load.Target{Addr: s.HTTP} }},
		{"HTTPS", func(s *graceful.Server) load.Target { return load.Target{Addr: s.TLS, TLS: insecure} }},
		{"HTTP2", func(s *graceful.Server) load.Target {
			return load.Target{Addr: s.TLS, TLS: insecure, Proto: load.HTTP2}
		}},
		{"H2C", func(s *graceful.Server) load.Target { return load.Target{Addr: s.HTTP, Proto: load.H2C} }},
		{"Unix", func(s *graceful.Server) load.Target { return load.Target{Network: "unix", Addr: s.Unix} }},
	} {
		t.Run(transport.name, func(t *testing.T) {
			s := graceful.Start(t, "-h2c")
			var cfgs []load.Config
			for _, shape := range []load.Shape{
				load.NewConn(),
				load.KeepAlive(),
				load.Think(300 * time.Millisecond),
				load.SlowPost(20 * time.Millisecond),
				load.LateFirstByte(20 * time.Millisecond),
			} {
				cfgs = append(cfgs, load.Config{Target: transport.target(s), Shape: shape, Workers: 4})
			}
			g, err := load.StartGroup(t.Context(), cfgs...)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := g.AwaitFirstAnswer(t.Context(), time.Time{}); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				g.Mark(time.Now(), "upgrade")
				sent := time.Now()
				pid := s.Upgrade()
				answer, err := g.AwaitFirstAnswer(t.Context(), sent)
				if err != nil {
					t.Fatal(err)
				}
				if answer.PID != pid {
					t.Errorf("after the upgrade to %d the first new process to answer is %d", pid, answer.PID)
				}
			}
			r := g.Stop()
			s.Stop()
			graceful.NoLoss(t, r)
			if len(r.PIDs) != 21 {
				t.Errorf("%d processes have answered, not 21", len(r.PIDs))
			}
		})
	}
}
