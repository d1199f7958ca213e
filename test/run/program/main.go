// Command program is a service for the tests of "handoff run". It serves HTTP on the
// sockets that it is given, and does what the words in a file say that it reads at its
// start:
//
//	notify      it says READY=1; else it doesn't speak sd_notify(3)
//	unready     GET /healthz is answered with 503
//	silent      it never says READY=1
//	die         it writes lines to its standard error and exits with status 3
//	exit0       it exits with status 0
//	late        it says READY=1 after half a second
//	dielate     it dies 300 ms after it has become ready
//	deaf        it ignores SIGTERM
//	watchdog    it pings each 50 ms
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff"
)

func main() {
	file := flag.String("mode", "", "read words from `FILE`")
	flag.Parse()
	data, err := os.ReadFile(*file)
	if err != nil && *file != "" {
		fmt.Fprintln(os.Stderr, "program:", err)
		os.Exit(1)
	}
	if err := serve(strings.Fields(string(data))); err != nil {
		fmt.Fprintln(os.Stderr, "program:", err)
		os.Exit(1)
	}
}

func serve(mode []string) error {
	is := func(word string) bool { return slices.Contains(mode, word) }
	switch {
	case is("die"):
		for i := range 30 {
			fmt.Fprintf(os.Stderr, "line %d: the database can't be opened\n", i+1)
		}
		os.Exit(3)
	case is("exit0"):
		os.Exit(0)
	}
	set, err := handoff.Inherit(handoff.InheritOptions{RequirePID: true})
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: handler(mode), ConnState: count}
	ended := make(chan error)
	var listeners []io.Closer
	for e := range set.All() {
		ln, err := set.Listener(handoff.ByIndex(e.Index))
		if err != nil {
			return err
		}
		listeners = append(listeners, ln)
		go func() { ended <- srv.Serve(ln) }()
	}
	var n *handoff.Notifier // nil is silent
	if is("notify") || is("late") || is("watchdog") {
		if n, err = handoff.OpenNotifier(); err != nil {
			return err
		}
	}
	if is("late") {
		time.Sleep(500 * time.Millisecond)
	}
	if !is("silent") {
		if err := n.Notify(handoff.Ready, handoff.Status(fmt.Sprintf("pid %d is here", os.Getpid()))); err != nil {
			return err
		}
	}
	if is("dielate") {
		time.AfterFunc(300*time.Millisecond, func() {
			fmt.Fprintln(os.Stderr, "out of luck")
			os.Exit(4)
		})
	}
	if is("watchdog") {
		go n.Watchdog(context.Background(), 100*time.Millisecond, func(context.Context) error { return nil })
	}
	stop := make(chan os.Signal, 1)
	if is("deaf") {
		signal.Ignore(syscall.SIGTERM)
	} else {
		signal.Notify(stop, syscall.SIGTERM)
	}
	select {
	case err := <-ended:
		return err
	case <-stop:
	}
	return drain(srv, listeners, ended)
}

// drain ends without loss: no connection comes any more, and each that is there is closed
// with its next answer.
func drain(srv *http.Server, listeners []io.Closer, ended chan error) error {
	draining.Store(true)
	for _, ln := range listeners {
		ln.Close()
	}
	for range listeners {
		<-ended // now each that was accepted is counted
	}
	for end := time.Now().Add(10 * time.Second); connections.Load() > 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	srv.Close() // its error would be of the listeners, which are closed
	return nil
}

var (
	draining    atomic.Bool
	connections atomic.Int64
)

func count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		connections.Add(1)
	case http.StateClosed, http.StateHijacked:
		connections.Add(-1)
	}
}

func handler(mode []string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	mux.HandleFunc("GET /pid", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, os.Getpid()) })
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if slices.Contains(mode, "unready") {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /env", func(w http.ResponseWriter, _ *http.Request) {
		for _, entry := range os.Environ() {
			fmt.Fprintln(w, entry)
		}
	})
	mux.HandleFunc("GET /fds", func(w http.ResponseWriter, _ *http.Request) {
		links, _ := filepath.Glob("/proc/self/fd/*")
		fmt.Fprint(w, len(links))
	})
	mux.HandleFunc("GET /mask", func(w http.ResponseWriter, _ *http.Request) {
		// A child has what this process was given; its own threads have what Go gives them.
		out, err := exec.Command("grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status").Output()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
		w.Write(out)
	})
	mux.HandleFunc("GET /crash", func(http.ResponseWriter, *http.Request) { os.Exit(7) })
	mux.HandleFunc("GET /exit0", func(http.ResponseWriter, *http.Request) { os.Exit(0) })
	mux.HandleFunc("GET /orphan", func(w http.ResponseWriter, _ *http.Request) {
		// The shell ends at once, and its child a little later, as nobody's.
		out, err := exec.Command("sh", "-c", "sleep 0.1 >/dev/null 2>&1 & echo $!").Output()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Write(out)
	})
	mux.HandleFunc("GET /notify", func(w http.ResponseWriter, r *http.Request) {
		n, err := handoff.OpenNotifier()
		if err == nil {
			err = n.Notify(handoff.State(r.URL.Query().Get("state")))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
		n.Close()
	})
	var mu sync.Mutex
	var got []string
	signals := make(chan os.Signal, 10)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGWINCH, syscall.Signal(40))
	go func() {
		for sig := range signals {
			mu.Lock()
			got = append(got, strconv.Itoa(int(sig.(syscall.Signal))))
			mu.Unlock()
		}
	}()
	mux.HandleFunc("GET /signals", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprint(w, strings.Join(got, " "))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Pid", strconv.Itoa(os.Getpid()))
		if draining.Load() {
			w.Header().Set("Connection", "close")
		}
		mux.ServeHTTP(w, r)
	})
}
