//go:build !small

package main

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/handoff-dev/handoff/handoff"
)

// serveGeneration is one generation's life. listening is told the address
// before anything is served.
func serveGeneration(srv *http.Server, log *slog.Logger, listening func(addr string, generation int) error) error {
	up, err := handoff.New(handoff.Options{
		Probation:    demoProbation,
		DrainTimeout: demoDrainTimeout,
		Logger:       log,
	})
	if err != nil {
		return err
	}
	ln, err := up.Listen("http", "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := listening(ln.Addr().String(), up.Generation()); err != nil {
		return err
	}
	// The library takes the signals; the command's own context ends by them
	// too, and knows less.
	return up.Run(context.Background(), handoff.Serve(srv, ln))
}
