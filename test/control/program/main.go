// Program has its control socket where a file says, and metrics on it.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/handoff/metrics"
)

// The arguments are the PID file, and the file with the path of the control socket.
func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "program:", err)
		os.Exit(1)
	}
}

func run(pidFile, conf string) error {
	path, err := os.ReadFile(conf)
	if err != nil {
		return err
	}
	up, err := handoff.New(handoff.Options{
		PIDFile:   pidFile,
		Probation: -1,
		Control:   strings.TrimSpace(string(path)),
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, nil)).With("pid", os.Getpid()),
	})
	if err != nil {
		return err
	}
	metrics.Serve(up)
	ln, err := up.Listen("http", "tcp", "127.0.0.1:0")
	if err != nil {
		up.Close()
		return err
	}
	return up.Run(context.Background(), handoff.Serve(&http.Server{Handler: http.NotFoundHandler()}, ln))
}
