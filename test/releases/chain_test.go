//go:build linux

package releases

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/internal/needed"
	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

// A build is a version of the service: a source tree and the Go release for it.
type build struct{ tree, release string }

func (b build) String() string { return fmt.Sprintf("Go %s of %s", b.release, b.tree) }

// A way is how clients speak to a service.
type way struct {
	name   string
	grpc   bool // the service is examples/grpc
	flags  []string
	target func(*graceful.Server) load.Target
	// moves: connections between two requests move on, so no client has to reconnect.
	moves bool
}

// insecure is for the certificate that the server makes itself.
var insecure = &tls.Config{InsecureSkipVerify: true}

var ways = []way{
	{name: "HTTP", moves: true, target: func(s *graceful.Server) load.Target { return load.Target{Addr: s.HTTP} }},
	{name: "HTTPS", target: func(s *graceful.Server) load.Target { return load.Target{Addr: s.TLS, TLS: insecure} }},
	{name: "HTTP2", target: func(s *graceful.Server) load.Target {
		return load.Target{Addr: s.TLS, TLS: insecure, Proto: load.HTTP2}
	}},
	{name: "gRPC", grpc: true, target: func(s *graceful.Server) load.Target {
		return load.Target{Addr: s.HTTP, Proto: load.GRPCHealth}
	}},
}

var h2c = way{name: "H2C", flags: []string{"-h2c"}, target: func(s *graceful.Server) load.Target {
	return load.Target{Addr: s.HTTP, Proto: load.H2C}
}}

func TestAServiceGoesFromOneGoReleaseToTheNextAndBack(t *testing.T) {
	var chain []build
	for _, r := range releases(t) {
		chain = append(chain, build{root, r})
	}
	chain = append(chain, chain[0])
	for _, w := range append(ways, h2c) {
		t.Run(w.name, func(t *testing.T) { runChain(t, w, chain) })
	}
}

// The earlier version loses every HTTP/2 request when it is built with Go 1.27, so
// it is built with the release before.
func TestAServiceGoesFromAnEarlierVersionToThisOneAndBack(t *testing.T) {
	all := releases(t)
	before := ""
	for _, r := range all {
		if strings.HasPrefix(r, "1.26.") {
			before = r
		}
	}
	if before == "" {
		t.Fatalf("test/go-releases has no 1.26 among %q", all)
	}
	old, newest := build{earlier(t), before}, all[len(all)-1]
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			runChain(t, w, []build{old, {root, before}, old, {root, newest}, old})
		})
	}
}

func (w way) executable(t *testing.T, b build) string {
	t.Helper()
	fetch(t, b.release)
	p := proctest.Program{Dir: b.tree, Package: "./examples/graceful", Go: b.release}
	if w.grpc {
		p.Dir, p.Package = b.tree+"/examples/grpc", "."
	}
	return proctest.Build(t, p)
}

// fetch has the go command fetch a release through the module proxy.
func fetch(t *testing.T, release string) {
	t.Helper()
	cmd := exec.Command("go", "version")
	cmd.Env = append(cmd.Environ(), "GOTOOLCHAIN=go"+release)
	if out, err := cmd.CombinedOutput(); err != nil {
		needed.Missing(t, "Go %s, which can't be fetched (%v: %s)", release, err, bytes.TrimSpace(out))
	}
}

func (w way) arguments(s *graceful.Server) []string {
	if w.grpc {
		return []string{"-addr", s.HTTP, "-pid-file", s.PIDFile, "-probation", "-1s"}
	}
	return append(s.Flags(), w.flags...)
}

// runChain starts the first build, and upgrades to each of the others in turn.
func runChain(t *testing.T, w way, chain []build) {
	var files []string
	for _, b := range chain {
		files = append(files, w.executable(t, b))
	}
	s := graceful.New(t, "")
	s.Install(files[0])
	s.Run(proctest.Command(s.Path, w.arguments(s)...))
	g := startLoad(t, w, s)
	awaitMore(t, g)
	for i, file := range files[1:] {
		s.Install(file)
		s.Reload()
		awaitMore(t, g)
		t.Logf("to %v: %+v", chain[i+1], g.Snapshot())
	}
	var results []load.Result
	for _, r := range g {
		results = append(results, r.Stop())
	}
	s.Stop()
	judge(t, w, results, len(chain))
}

func startLoad(t *testing.T, w way, s *graceful.Server) load.Group {
	shapes := []load.Shape{load.NewConn(), load.KeepAlive(), load.Think(100 * time.Millisecond)}
	if !w.grpc {
		shapes = append(shapes, load.SlowPost(20*time.Millisecond))
	}
	var cfgs []load.Config
	for _, shape := range shapes {
		cfgs = append(cfgs, load.Config{Target: w.target(s), Shape: shape, Workers: workers})
	}
	g, err := load.StartGroup(t.Context(), cfgs...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Stop() })
	return g
}

const workers = 4

// awaitMore waits until each shape has had some more answers, of the present
// generation.
func awaitMore(t *testing.T, g load.Group) {
	t.Helper()
	var want []uint64
	for _, r := range g {
		want = append(want, r.Snapshot().Requests+20*workers)
	}
	proctest.Until(t, "each shape has had more answers", func() error {
		for i, r := range g {
			if c := r.Snapshot(); c.Requests < want[i] {
				return fmt.Errorf("shape %d: %d of %d", i, c.Requests, want[i])
			}
		}
		return nil
	})
}

func judge(t *testing.T, w way, results []load.Result, generations int) {
	t.Helper()
	for _, r := range results {
		graceful.NoLoss(t, r)
		if r.ClosedIdle > 0 {
			t.Errorf("%v: %d connections were closed without a word", r.Shapes, r.ClosedIdle)
		}
		if w.moves && r.Reconnects > 0 {
			t.Errorf("%v: %d clients had to reconnect", r.Shapes, r.Reconnects)
		}
	}
	all := load.Merge(results...)
	if !w.moves && all.Reconnects+all.Retryable == 0 {
		t.Error("no client was told to go: the load has not met an upgrade")
	}
	if !w.grpc && len(all.PIDs) != generations {
		t.Errorf("%d processes have answered, not %d", len(all.PIDs), generations)
	}
}
