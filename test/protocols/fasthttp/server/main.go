// Server echoes the bodies of requests with github.com/valyala/fasthttp. adapter.go
// is what it takes to have its connections move to the next generation.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/handoff-dev/handoff/handoff"
)

// listener is the name of the socket, which a test's build changes.
var listener = "http"

func main() {
	var opts handoff.Options
	srv := &fasthttp.Server{Handler: echo}
	addr := flag.String("addr", "", "serve on `address`")
	flag.StringVar(&opts.PIDFile, "pid-file", "", "keep the main process's pid in `file`")
	flag.DurationVar(&srv.ReadTimeout, "read-timeout", 0, "how long a request may take to come")
	flag.DurationVar(&srv.IdleTimeout, "idle-timeout", 0, "how long a connection may be idle")
	flag.BoolVar(&srv.ReduceMemoryUsage, "reduce-memory", false, "fasthttp's other way to wait for a request")
	flag.Parse()
	opts.Probation = -1
	opts.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("pid", os.Getpid())
	if err := serve(opts, srv, *addr); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

func serve(opts handoff.Options, srv *fasthttp.Server, addr string) error {
	up, err := handoff.New(opts)
	if err != nil {
		return err
	}
	defer up.Close()
	ln, err := up.Listen(listener, "tcp", addr)
	if err != nil {
		return err
	}
	return up.Run(context.Background(), service(up, srv, ln))
}

var pid = strconv.Itoa(os.Getpid())

func echo(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.Set("X-Pid", pid)
	if string(ctx.Path()) == "/hijack" {
		ctx.Hijack(lines)
		return
	}
	ctx.SetBody(ctx.PostBody())
}

// lines answers each line with itself and the pid.
func lines(conn net.Conn) {
	in := bufio.NewScanner(conn)
	for in.Scan() {
		if _, err := fmt.Fprintf(conn, "%s %s\n", in.Text(), pid); err != nil {
			return
		}
	}
}
