// Events sends numbered server-sent events. Every generation numbers them alike,
// by the time since an instant that all know.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/handoff-dev/handoff/handoff"
)

func main() {
	addr := flag.String("http", "", "serve HTTP on `address`")
	pidFile := flag.String("pid-file", "", "keep the main process's pid in `file`")
	epoch := flag.Int64("epoch", 0, "unix `time` of event 0")
	every := flag.Duration("every", 2*time.Millisecond, "time between two events")
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
	s := &source{time.Unix(*epoch, 0), *every}
	if err := up.Run(context.Background(), handoff.Serve(&http.Server{Handler: s}, ln)); err != nil {
		fatal(err)
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "events:", err)
	os.Exit(1)
}

// source has an event at each multiple of a time.
type source struct {
	epoch time.Time
	every time.Duration
}

// ServeHTTP follows https://html.spec.whatwg.org/multipage/server-sent-events.html:
// it begins after the client's last event, if it names one.
func (s *source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	next := int64(time.Since(s.epoch) / s.every)
	if last, err := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64); err == nil {
		next = last + 1
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Pid", strconv.Itoa(os.Getpid()))
	fmt.Fprint(w, "retry: 0\n\n") // the client is to come back at once
	out := http.NewResponseController(w)
	drains := handoff.Draining(r.Context())
	for ; ; next++ {
		select {
		case <-time.After(time.Until(s.epoch.Add(time.Duration(next) * s.every))):
		case <-drains.Done():
			return // between two events: the client goes on with the successor
		case <-r.Context().Done():
			return
		}
		fmt.Fprintf(w, "id: %d\ndata: event %d of %d\n\n", next, next, os.Getpid())
		if out.Flush() != nil {
			return
		}
	}
}
