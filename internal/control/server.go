package control

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Service is what a Server controls. Values are answered as JSON.
type Service interface {
	// Status is the answer to GET /v1/status.
	Status() any
	// Upgrade upgrades, or with r.Check only finds out whether the next version would
	// start, and returns the answer with its HTTP status. Its context doesn't end when
	// the client goes.
	Upgrade(r UpgradeRequest) (status int, answer any)
	// Stop begins the end of the service.
	Stop() (status int, answer any)
	// Fault makes the answer to a request that can't be served.
	Fault(code, message string) any
}

// UpgradeRequest is the body of POST /v1/upgrade. An empty body is the zero value.
type UpgradeRequest struct {
	// Check: only run the check command.
	Check bool `json:"check"`
	// TimeoutMS is after how many milliseconds the upgrade is to be given up; 0 means
	// when the service's own timeouts say so.
	TimeoutMS int64 `json:"timeout_ms"`
}

// Limits of what a client may take.
const (
	maxConns    = 64              // at a time; see doorman
	maxWatchers = 16              // of them, that follow the events; the others' places are for commands
	maxHeader   = 16 << 10        // bytes
	maxBody     = 64 << 10        // bytes
	patience    = 5 * time.Second // with a client that sends or reads slowly
)

// Server serves control sockets. Make one with [NewServer].
type Server struct {
	service  Service
	feed     *Feed
	log      *slog.Logger
	http     *http.Server
	mux      *http.ServeMux
	door     *doorman
	watchers chan struct{} // one element for each

	once sync.Once
	left chan struct{} // closed by Leave
}

// NewServer returns a server for a service whose events go through feed.
func NewServer(service Service, feed *Feed, log *slog.Logger) *Server {
	s := &Server{service: service, feed: feed, log: log, mux: http.NewServeMux(), left: make(chan struct{}), watchers: make(chan struct{}, maxWatchers)}
	s.mux.HandleFunc("GET /v1/status", s.status)
	s.mux.HandleFunc("POST /v1/upgrade", s.upgrade)
	s.mux.HandleFunc("POST /v1/stop", s.stop)
	s.mux.HandleFunc("GET /v1/events", s.events)
	s.mux.HandleFunc("/", s.unknown)
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: patience,
		ReadTimeout:       2 * patience,
		IdleTimeout:       6 * patience,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(quiet{log.Handler()}, slog.LevelDebug),
		ConnState:         func(c net.Conn, state http.ConnState) { s.door.note(c, state) },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
	s.door = newDoorman(maxConns, log)
	return s
}

// Handle adds a handler of the program's own, such as GET /metrics. The pattern is
// one of [http.ServeMux], which panics if it is malformed or taken.
func (s *Server) Handle(pattern string, handler http.Handler) { s.mux.Handle(pattern, handler) }

// Serve accepts on ln those whom rule allows, until [Server.Leave].
func (s *Server) Serve(ln *net.UnixListener, rule Rule) error {
	err := s.http.Serve(s.door.guard(ln, rule))
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Leave is when another process serves the socket from now on, whose listener here
// is closed by the caller: streams end with the feed, which the caller has closed,
// what is being answered is answered, and what comes on old connections is told to
// connect anew.
func (s *Server) Leave() {
	s.once.Do(func() { close(s.left) })
	s.http.SetKeepAlivesEnabled(false)
}

// Shutdown waits for the answers that are being given, for as long as ctx lasts, and
// closes all connections. Nobody who is silent is waited for.
func (s *Server) Shutdown(ctx context.Context) {
	s.Leave()
	defer time.AfterFunc(courtesy, s.door.dismissSilent).Stop()
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
}

// serve is around all handlers.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	select {
	case <-s.left:
		w.Header().Set("Connection", "close")
		w.Header().Set("Retry-After", "0")
		s.fault(w, http.StatusServiceUnavailable, "handed_over", "this generation does not serve any more; connect anew")
		return
	default:
	}
	if r.ContentLength == 0 {
		s.busy(r)
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	s.mux.ServeHTTP(w, r)
}

type connKey struct{}

// busy is when all of a request has been read.
func (s *Server) busy(r *http.Request) {
	if c, ok := r.Context().Value(connKey{}).(net.Conn); ok {
		s.door.busy(c)
	}
}

func (s *Server) unknown(w http.ResponseWriter, r *http.Request) {
	s.fault(w, http.StatusNotFound, "not_found", "there is no "+r.Method+" "+r.URL.Path+" here")
}

// quiet makes of the complaints of net/http about its clients what they are: no
// matter for a service's log.
type quiet struct{ slog.Handler }

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	if !q.Enabled(ctx, r.Level) {
		return nil
	}
	return q.Handler.Handle(ctx, r)
}
