//go:build unix

package handoff

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"
)

// stuckHandler is a log that nobody reads.
type stuckHandler struct{ slog.Handler }

func (stuckHandler) Enabled(context.Context, slog.Level) bool  { select {} }
func (stuckHandler) Handle(context.Context, slog.Record) error { select {} }
func (h stuckHandler) WithAttrs([]slog.Attr) slog.Handler      { return h }
func (h stuckHandler) WithGroup(string) slog.Handler           { return h }

func TestALoggerThatBlocksKeepsNothingElse(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{Logger: slog.New(stuckHandler{}), Command: os.Args[0], Args: []string{os.Args[0], "-test.list=^$"}})
	if err := u.Ready(); err != nil {
		t.Fatal(err)
	}
	if err := u.Upgrade(t.Context()); !errors.Is(err, ErrExited) {
		t.Errorf("the upgrade: %v, want %v", err, ErrExited)
	}
	u.Stop()
	select {
	case <-u.Draining():
	case <-time.After(20 * time.Second):
		t.Error("the stop is not heard")
	}
	u.Close()
}
