package handoff_test

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/handoff-dev/handoff/handoff"
)

func hello(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello") }

func Example() {
	up, err := handoff.New(handoff.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := up.Listen("http", "tcp", ":8080") // inherited, or new
	if err != nil {
		log.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(hello)}
	// Serves; upgrades on SIGHUP, stops on SIGTERM; lets requests in flight end.
	if err := up.Run(context.Background(), handoff.Serve(srv, ln)); err != nil {
		log.Fatal(err)
	}
}
