//go:build linux

// Victim is the server that faults are injected into. It can be held at each step
// of an upgrade (package hold), writes down each connection that it accepts, and
// misbehaves as a successor when told so by the file "mode" in its directory:
//
//	hang        never be ready
//	exit        exit with status 3 before being ready, with a STATUS and an ERRNO
//	ready-exit  be ready and exit with status 0
//	ready-twice say READY=1 twice
//	close-fds   close every inherited descriptor, then say READY=1
//	deaf        be no program of this library: never read the link
//	fork-exit   start itself again and exit with status 0
//	crash       be ready and die of SIGABRT
//	first-exit  say READY=1 before New, and exit with status 3 instead of New
//	early-exit  say READY=1 after New, and exit with status 3 before Upgrader.Ready
//	early-hang  the same, and hang
//	child-hang  have a child say what Upgrader.Ready says, and hang
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/latelog"
	"github.com/handoff-dev/handoff/test/faults/hold"
)

// version is set by the build.
var version = "1"

var (
	dir = os.Getenv(hold.Variable)
	pid = strconv.Itoa(os.Getpid())
)

type settings struct {
	opts      handoff.Options
	addr      string
	unix      string
	listeners int
	check     bool
	chdir     string
	stderr    bool
	threads   int
}

func main() {
	beChild()
	var s settings
	flag.StringVar(&s.addr, "http", "", "")
	flag.StringVar(&s.unix, "unix", "", "")
	flag.StringVar(&s.opts.PIDFile, "pid-file", "", "")
	flag.DurationVar(&s.opts.ReadyTimeout, "ready-timeout", 0, "")
	flag.DurationVar(&s.opts.Probation, "probation", 0, "")
	flag.DurationVar(&s.opts.DrainTimeout, "drain", 0, "")
	flag.BoolVar(&s.opts.Readopt, "readopt", false, "")
	flag.IntVar(&s.listeners, "listeners", 0, "further listeners")
	flag.BoolVar(&s.check, "check", false, "ask the service's own address during the probation")
	flag.StringVar(&s.chdir, "chdir", "", "change to this directory at the start")
	flag.StringVar(&s.opts.Dir, "dir", "", "Options.Dir")
	flag.BoolVar(&s.stderr, "log-stderr", false, "log to stderr, not to the file log")
	flag.IntVar(&s.threads, "threads", 0, "so many threads to have in reserve")
	flag.Parse()
	if !s.stderr { // the library's own goroutine waits where a line of the log is held
		latelog.Patience = time.Hour
	}
	note("started", fmt.Sprintf("%s %s %s", pid, version, os.Getenv("NOTIFY_SOCKET")))
	hold.At("new")
	if err := run(s); err != nil {
		fmt.Fprintln(os.Stderr, "victim:", err)
		slog.Error("victim", "pid", pid, "error", err)
		os.Exit(1)
	}
}

func run(s settings) error {
	if err := s.openLog(); err != nil {
		return err
	}
	warmThreads(s.threads)
	if s.chdir != "" {
		if err := os.Chdir(s.chdir); err != nil {
			return err
		}
	}
	mode := successorMode()
	if misbehave(mode) {
		return nil
	}
	if s.check {
		s.opts.HealthCheck = func(ctx context.Context) error { return ask(ctx, s.addr) }
	}
	up, err := handoff.New(s.opts)
	if err != nil {
		return err
	}
	defer up.Close()
	services, err := s.listen(up)
	if err != nil {
		return err
	}
	hold.At("ready")
	if mode == "ready-twice" {
		send(handoff.Ready)
	}
	if err := sayEarly(mode); err != nil {
		return err
	}
	if mode == "ready-exit" || mode == "crash" {
		go dieWhenReady(up, mode)
	}
	return up.Run(context.Background(), services...)
}

// warmThreads leaves threads in the runtime's reserve: Go crashes where it needs one
// and can have none, which is not what is to be tested.
func warmThreads(n int) {
	var together, done sync.WaitGroup
	together.Add(n)
	for range n {
		done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			together.Done()
			together.Wait()
		})
	}
	done.Wait()
}

func (s *settings) openLog() error {
	out := os.Stderr
	if !s.stderr {
		f, err := os.OpenFile(filepath.Join(dir, "log"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
		if err != nil {
			return err
		}
		out = f
	}
	text := slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug})
	slog.SetDefault(slog.New(holding{text}).With("pid", pid))
	s.opts.Logger = slog.Default()
	return nil
}

func (s *settings) listen(up *handoff.Upgrader) ([]handoff.Service, error) {
	srv := &http.Server{Handler: handler(up.Generation()), ReadHeaderTimeout: 10 * time.Second}
	ln, err := up.Listen("http", "tcp", s.addr)
	if err != nil {
		return nil, err
	}
	services := []handoff.Service{handoff.Serve(srv, noting{ln})}
	if s.unix != "" {
		ln, err := up.Listen("unix", "unix", s.unix)
		if err != nil {
			return nil, err
		}
		services = append(services, handoff.Serve(srv, noting{ln}))
	}
	for i := range s.listeners {
		name := "more-" + strconv.Itoa(i)
		ln, err := up.Listen(name, "unix", "@"+filepath.Base(dir)+"/"+name)
		if err != nil {
			return nil, err
		}
		services = append(services, handoff.Serve(srv, ln))
	}
	return services, nil
}

// note appends a line to a file that all generations share.
func note(file, line string) {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
	if err == nil {
		_, err = f.WriteString(line + "\n")
		f.Close()
	}
	if err != nil {
		slog.Warn("note", "file", file, "error", err)
	}
}

func handler(generation int) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %d %s", pid, generation, version)
	})
	mux.HandleFunc("GET /held", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		hold.At("request")
		fmt.Fprint(w, "end")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Pid", pid)
		mux.ServeHTTP(w, r)
	})
}

// ask is the health check.
func ask(ctx context.Context, addr string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/", nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// noting is a listener that writes down each connection that it accepts.
type noting struct{ net.Listener }

func (l noting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil && c.RemoteAddr().Network() == "tcp" {
		noteAccepted(c.RemoteAddr().String())
	}
	return c, err
}

// accepted stays open, for there may be no descriptor for it when it matters.
var accepted = -1

func noteAccepted(remote string) {
	if accepted < 0 {
		accepted, _ = syscall.Open(filepath.Join(dir, "accepted"), syscall.O_WRONLY|syscall.O_APPEND|syscall.O_CREAT|syscall.O_CLOEXEC, 0o666)
	}
	if _, err := syscall.Write(accepted, []byte(pid+" "+remote+"\n")); err != nil {
		slog.Warn("noting a connection", "error", err)
	}
}
