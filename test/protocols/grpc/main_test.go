//go:build linux

package grpc

import (
	"testing"

	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

// start starts examples/grpc.
func start(t *testing.T, flags ...string) *graceful.Server {
	t.Helper()
	s := graceful.New(t, "")
	s.Install(proctest.Build(t, proctest.Program{Package: "github.com/handoff-dev/handoff/examples/grpc", Race: true}))
	s.Run(proctest.Command(s.Path, append([]string{"-addr", s.HTTP, "-pid-file", s.PIDFile, "-probation", "-1s"}, flags...)...))
	return s
}
