// Server echoes the bodies of requests, and counts them in a database that one process
// may have open at a time. store.go has the rules.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"

	"go.etcd.io/bbolt"

	"github.com/handoff-dev/handoff/handoff"
)

func main() {
	var opts handoff.Options
	addr := flag.String("addr", "", "serve on `address`")
	file := flag.String("db", "", "count in `file`")
	flag.StringVar(&opts.PIDFile, "pid-file", "", "keep the main process's pid in `file`")
	flag.Parse()
	opts.Probation = -1
	opts.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("pid", os.Getpid())
	if err := serve(opts, *addr, *file); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

func serve(opts handoff.Options, addr, file string) error {
	up, err := handoff.New(opts)
	if err != nil {
		return err
	}
	defer up.Close()
	ln, err := up.Listen("http", "tcp", addr)
	if err != nil {
		return err
	}
	db, err := share(up, ln, file)
	if err != nil {
		return err
	}
	defer db.close()
	successor := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: ln.Addr().String()})
	count := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has gone
		}
		err = db.update(increment)
		switch err {
		case nil:
			w.Header().Set("X-Pid", strconv.Itoa(os.Getpid()))
			w.Write(body)
		case errTheirs:
			// This request came over a connection of ours when the database was the
			// successor's already. Nobody but the successor accepts at our address.
			again := r.Clone(r.Context())
			again.Body = io.NopCloser(bytes.NewReader(body))
			successor.ServeHTTP(w, again)
		default:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}
	return up.Run(context.Background(), handoff.Serve(&http.Server{Handler: http.HandlerFunc(count)}, ln))
}

func increment(tx *bbolt.Tx) error {
	b, err := tx.CreateBucketIfNotExists([]byte("counters"))
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(string(b.Get([]byte("requests"))))
	return b.Put([]byte("requests"), []byte(strconv.Itoa(n+1)))
}
