//go:build !small

package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
)

const (
	// demoProbation is short: what a generation of the demo has to stand is
	// only to start.
	demoProbation    = 250 * time.Millisecond
	demoDrainTimeout = 5 * time.Second
)

// newDemoServer is the server that the demo upgrades: this same command, so
// that the demo needs nothing but itself.
func newDemoServer() *cobra.Command {
	var lose int
	cmd := &cobra.Command{
		Use:    "demo-server",
		Short:  "Serve for the demo",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			version, err := ownVersion()
			if err != nil {
				return err
			}
			go endWithDemo()
			srv := &http.Server{Handler: demoHandler(lose), ReadHeaderTimeout: 10 * time.Second}
			log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)).With("pid", os.Getpid(), "version", version)
			return serveGeneration(srv, log, func(addr string, generation int) error {
				return writeBirth(cmd.OutOrStdout(), birth{os.Getpid(), generation, version, addr})
			})
		},
	}
	cmd.Flags().IntVar(&lose, "lose", 0, "lose each n-th request")
	return cmd
}

// demoHandler echoes, and says who did.
func demoHandler(lose int) http.Handler {
	pid := strconv.Itoa(os.Getpid())
	var n atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if lose > 0 && n.Add(1)%int64(lose) == 0 {
			panic(http.ErrAbortHandler) // closes the connection
		}
		w.Header().Set("X-Pid", pid)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Write(body)
	})
}

// endWithDemo ends this process when the demo's end of its standard input is
// closed, which it is also where the demo was killed. Every generation has the
// same standard input.
func endWithDemo() {
	if info, err := os.Stdin.Stat(); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return
	}
	io.Copy(io.Discard, os.Stdin)
	os.Exit(exitFailed)
}

// birth is what each generation says of itself, in a line on the standard
// output that they all share with the demo.
type birth struct {
	pid, generation, version int
	addr                     string
}

const birthFormat = "pid %d generation %d version %d at %s\n"

func writeBirth(w io.Writer, b birth) error {
	_, err := fmt.Fprintf(w, birthFormat, b.pid, b.generation, b.version, b.addr)
	return err
}

func readBirth(line string) (b birth, ok bool) {
	n, err := fmt.Sscanf(line, birthFormat, &b.pid, &b.generation, &b.version, &b.addr)
	return b, err == nil && n == 4
}
