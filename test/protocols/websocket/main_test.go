//go:build linux

package websocket

import (
	"path/filepath"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

// start starts the server, which writes what it has worked on to a file.
func start(t *testing.T, flags ...string) (s *graceful.Server, work string) {
	t.Helper()
	s = graceful.New(t, "")
	work = filepath.Join(s.Dir, "work")
	s.Install(proctest.Build(t, proctest.Program{Package: "./server", Race: true}))
	s.Run(proctest.Command(s.Path, append([]string{"-addr", s.HTTP, "-pid-file", s.PIDFile, "-work", work}, flags...)...))
	return s, work
}
