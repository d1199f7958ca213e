// H2c echoes what is posted, over HTTP/1.1 and over HTTP/2 without TLS.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"

	"github.com/handoff-dev/handoff/handoff"
)

func main() {
	addr := flag.String("http", "", "serve HTTP on `address`")
	pidFile := flag.String("pid-file", "", "keep the main process's pid in `file`")
	flag.Parse()
	up, err := handoff.New(handoff.Options{
		PIDFile:   *pidFile,
		Probation: -1,
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, nil)).With("pid", os.Getpid()),
	})
	if err != nil {
		fatal(err)
	}
	ln, err := up.Listen("http", "tcp", *addr)
	if err != nil {
		fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(echo), Protocols: new(http.Protocols)}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	if err := up.Run(context.Background(), handoff.Serve(srv, ln)); err != nil {
		fatal(err)
	}
}

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Pid", strconv.Itoa(os.Getpid()))
	body, err := io.ReadAll(r.Body) // whole, for HTTP/1 answers end it
	if err != nil {
		slog.Warn("echo", "error", err)
		return
	}
	w.Write(body)
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "h2c:", err)
	os.Exit(1)
}
