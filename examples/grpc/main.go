// Grpc is a gRPC server that upgrades itself on SIGHUP with no call failed.
//
// Calls and streams that are under way end in the process that has begun them. The
// clients learn by GOAWAY to make the next ones on a new connection, which every
// gRPC client does by itself.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/handoff-dev/handoff/examples/grpc/echo"
	"github.com/handoff-dev/handoff/handoff"
)

func main() {
	var opts handoff.Options
	addr := flag.String("addr", "127.0.0.1:50051", "serve gRPC on `address`")
	flag.StringVar(&opts.PIDFile, "pid-file", "", "keep the main process's pid in `file`")
	flag.DurationVar(&opts.Probation, "probation", time.Second, "how long a successor has to live before it takes over; negative for none")
	flag.DurationVar(&opts.DrainTimeout, "drain", 30*time.Second, "how long calls may take to end")
	flag.Parse()
	opts.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("pid", os.Getpid())
	if err := serve(opts, *addr); err != nil {
		fmt.Fprintln(os.Stderr, "grpc:", err)
		os.Exit(1)
	}
}

func serve(opts handoff.Options, addr string) error {
	up, err := handoff.New(opts)
	if err != nil {
		return err
	}
	defer up.Close()
	ln, err := up.Listen("grpc", "tcp", addr)
	if err != nil {
		return err
	}
	srv := grpc.NewServer()
	echo.RegisterEchoServer(srv, &server{draining: up.Draining()})
	grpc_health_v1.RegisterHealthServer(srv, health.NewServer())
	return up.Run(context.Background(), handoff.Serve(srv, ln))
}
