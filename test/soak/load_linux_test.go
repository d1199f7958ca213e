package soak

import (
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/graceful"
)

// loads are those that come and go.
var loads = func() (all []namedLoad) {
	insecure := &tls.Config{InsecureSkipVerify: true} // the server makes its certificate itself
	for _, target := range []struct {
		name   string
		target func(*graceful.Server) load.Target
	}{
		{"http", func(s *graceful.Server) load.Target { return load.Target{Addr: s.HTTP} }},
		{"unix", func(s *graceful.Server) load.Target { return load.Target{Network: "unix", Addr: s.Unix} }},
		{"https", func(s *graceful.Server) load.Target { return load.Target{Addr: s.TLS, TLS: insecure} }},
		{"h2", func(s *graceful.Server) load.Target {
			return load.Target{Addr: s.TLS, TLS: insecure, Proto: load.HTTP2}
		}},
	} {
		for _, shape := range []load.Shape{
			load.NewConn(),
			load.KeepAlive(),
			load.Think(300 * time.Millisecond),
			load.SlowPost(20 * time.Millisecond),
			load.LateFirstByte(50 * time.Millisecond),
		} {
			all = append(all, namedLoad{target.name + " " + shape.Name, target.target, shape})
		}
	}
	return all
}()

type namedLoad struct {
	name   string
	target func(*graceful.Server) load.Target
	shape  load.Shape
}

// workers is how many a load has: so many requests can be in flight.
const workers = 2

func (n namedLoad) config(s *graceful.Server) load.Config {
	n.shape.Name = n.name
	return load.Config{Target: n.target(s), Shape: n.shape, Workers: workers, Rate: 50, MaxErrors: 1000}
}

// exchange puts another load in a place.
func (k *soak) exchange(place int, name string) {
	old := k.loads[place]
	for _, l := range loads {
		if l.name == name {
			r, err := load.Start(k.t.Context(), l.config(k.Server))
			if err != nil {
				k.t.Fatal(err)
			}
			k.loads[place] = r
		}
	}
	if old != nil {
		k.ending.Go(func() { k.judge(old.Stop()) })
	}
}

// judge looks at what became of a load. It is called by several goroutines.
func (k *soak) judge(r load.Result) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.requests += r.Requests
	if r.Requests > 0 && r.OK == 0 {
		k.t.Errorf("no request of %v was answered", r.Shapes)
	}
	for _, f := range r.Errors {
		if k.mayBeLost(f) {
			k.lost++
			continue
		}
		k.t.Errorf("%v: a request failed (%s, %s), and nobody was struck who could have had it: %s; what happened around it:\n%s",
			f.Time.Format(clock), f.Shape, f.Kind, f.Error, k.aroundLocked(f.Time))
	}
}

// aroundLocked is what the service has logged, and who has died, about a time.
func (k *soak) aroundLocked(at time.Time) string {
	var text strings.Builder
	near := func(t time.Time) bool { return t.Sub(at).Abs() < time.Second }
	for line := range strings.Lines(k.First.Output()) {
		stamp, _, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
		if t, err := time.Parse(time.RFC3339Nano, stamp); err == nil && near(t) {
			text.WriteString(line)
		}
	}
	for _, l := range k.losses {
		if near(l.from) || near(l.to) {
			fmt.Fprintf(&text, "process %d (%s): requests may be lost from %s to %s\n", l.pid, l.why, l.from.Format(clock), l.to.Format(clock))
		}
	}
	return text.String()
}
