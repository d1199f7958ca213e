// Probe is a server that upgrades itself as examples/graceful does, and tells
// about its inside, which nobody can see from without: how many goroutines it has,
// and what a failed upgrade has returned.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/handoff-dev/handoff/handoff"
)

func main() {
	var opts handoff.Options
	addr := flag.String("http", "", "serve HTTP on `address`")
	flag.StringVar(&opts.PIDFile, "pid-file", "", "keep the main process's pid in `file`")
	flag.DurationVar(&opts.ReadyTimeout, "ready-timeout", time.Minute, "how long a successor may take to be ready")
	flag.DurationVar(&opts.Probation, "probation", -1, "how long a successor has to live")
	flag.IntVar(&opts.MaxDraining, "max-draining", 0, "how many generations may drain")
	flag.DurationVar(&opts.DrainTimeout, "drain", 30*time.Second, "how long connections may take to end")
	listeners := flag.Int("listeners", 0, "how many other listeners to have, on ports that the system chooses")
	for _, ignored := range []string{"https", "unix", "udp"} {
		flag.String(ignored, "", "")
	}
	flag.Parse()
	opts.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("pid", os.Getpid())
	if err := serve(opts, *addr, *listeners); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func serve(opts handoff.Options, addr string, listeners int) error {
	up, err := handoff.New(opts)
	if err != nil {
		return err
	}
	defer up.Close()
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second}
	ln, err := up.Listen("http", "tcp", addr)
	if err != nil {
		return err
	}
	others := make([]net.Listener, listeners)
	for i := range others {
		if others[i], err = up.Listen("other-"+strconv.Itoa(i), "tcp", "127.0.0.1:0"); err != nil {
			return err
		}
	}
	srv.Handler = handler(up, others)
	services := []handoff.Service{handoff.Serve(srv, ln)}
	for _, ln := range others {
		services = append(services, handoff.Serve(srv, ln))
	}
	return up.Run(context.Background(), services...)
}

func handler(up *handoff.Upgrader, others []net.Listener) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, r *http.Request) { json.NewEncoder(w).Encode(look()) })
	mux.HandleFunc("GET /others", func(w http.ResponseWriter, r *http.Request) {
		addrs := make([]string, len(others))
		for i, ln := range others {
			addrs[i] = ln.Addr().String()
		}
		json.NewEncoder(w).Encode(addrs)
	})
	mux.HandleFunc("POST /upgrade", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, up.Upgrade(context.WithoutCancel(r.Context())))
	})
	// An answer that ends when the client or the drain's patience does.
	mux.HandleFunc("GET /hold", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, os.Getpid())
		if err := http.NewResponseController(w).Flush(); err == nil {
			<-r.Context().Done()
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Pid", strconv.Itoa(os.Getpid()))
		mux.ServeHTTP(w, r)
	})
}

// State is what this process has at rest, but for the goroutines of the request
// that asks for it.
type State struct {
	Environ    []string
	Args       []string
	Goroutines []string // by what they do
	Heap       uint64   // bytes in use after a collection
}

func look() State {
	s := State{Environ: os.Environ(), Args: os.Args}
	runtime.GC() // twice: sync.Pool keeps things over one
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s.Heap = m.HeapAlloc
	stacks := make([]byte, 8<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, g := range strings.Split(strings.TrimSpace(string(stacks)), "\n\n") {
		// The last line but one says who began it.
		lines := strings.Split(g, "\n")
		began, _, _ := strings.Cut(lines[max(0, len(lines)-2)], " in goroutine")
		s.Goroutines = append(s.Goroutines, began)
	}
	return s
}
