//go:build linux

package main

import (
	"context"
	"log/slog"

	"github.com/handoff-dev/handoff/test/faults/hold"
)

// holding is a log handler that can be held at the lines that tell of a step: the
// library's own goroutine waits there.
type holding struct{ slog.Handler }

func (h holding) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	switch r.Message {
	case "starting a successor":
		hold.At("fork")
	case "successor is ready":
		hold.At("probation")
	case "upgraded":
		hold.At("committed")
	case "handing over":
		// The PID file names the successor, which has not been told.
		hold.At("commit")
	}
	return err
}

func (h holding) WithAttrs(attrs []slog.Attr) slog.Handler {
	return holding{h.Handler.WithAttrs(attrs)}
}

func (h holding) WithGroup(name string) slog.Handler { return holding{h.Handler.WithGroup(name)} }
