package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// The protocols of a [Target].
const (
	HTTP1 = "h1"  // HTTP/1.1, over TLS where Target.TLS is set
	HTTP2 = "h2"  // HTTP/2 over TLS
	H2C   = "h2c" // HTTP/2 without TLS, known beforehand (RFC 9113, 3.3)
	// WebSocket sends messages that are to be echoed (RFC 6455), over TLS where
	// Target.TLS is set.
	WebSocket = "websocket"
	// GRPCHealth asks grpc.health.v1.Health/Check, over TLS where Target.TLS is
	// set; SERVING is the right answer.
	GRPCHealth = "grpc-health"
)

// Target is a server, and the way to speak to it.
type Target struct {
	// Network and Addr are those of net.Dial. An empty Network is "tcp".
	Network, Addr string
	// Dial, where set, connects in place of a net.Dialer: to a server in another
	// network namespace, for instance. Its context ends after Config.Timeout.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS, where set, is the client's configuration. It is cloned; a missing
	// ServerName is taken from Addr, and NextProtos follow from Proto.
	TLS *tls.Config
	// Proto is one of the protocols above. Empty: HTTP1.
	Proto string
	// Host is what requests name as theirs. Empty: Addr, or "localhost" for a
	// unix socket.
	Host string
	// Path of the requests, with their query. Empty: "/echo". For GRPCHealth it
	// is the name of the service asked about, and empty asks about the server.
	Path string
	// Method of the requests. Empty: POST, with a body to be echoed. GET and
	// HEAD have no body, and need Accept. Not for WebSocket and GRPCHealth.
	Method string
	// Accept, where set, is for a server that doesn't echo: an answer with a
	// status that it accepts is right, whatever the body, if only that is whole.
	Accept func(status int) bool
	// Header is added to each request; to a WebSocket's first one.
	Header http.Header
	// Identity is the header of answers that tells one process from another.
	// Its values are numbers, else any text. Empty: "X-Pid".
	Identity string
}

// Config is what [Start] needs. Only Target.Addr must be set.
type Config struct {
	Target Target
	Shape  Shape
	// Workers is how many work at a time, each with one connection. Zero: 1.
	Workers int
	// Timeout bounds a connect and, on its own, a request from its first byte
	// to the last of the answer, the shape's pauses added. Zero: 10 s.
	Timeout time.Duration
	// Rate, where positive, is how many requests all workers together start
	// each second. Latency then counts from the time at which a request was
	// due, so that a stall shows in all the requests it held up. Zero: each
	// worker goes on as soon as it has its answer.
	Rate float64
	// Jitter has each request, with Rate, come due at a random time in the first
	// quarter of its beat, so that the load isn't in step with what happens to
	// the server.
	Jitter bool
	// BodySize is the length of each request's body in bytes. Zero: 128. Less
	// than 64 is raised to 64, so that every body has its number.
	BodySize int
	// Window is how long after a mark a request counts as near it. Zero: 1 s.
	Window time.Duration
	// Peek looks, without waiting, whether the server has closed a kept
	// connection before a request is written, and opens another if so
	// (Counters.ClosedIdle). It costs a system call a request. HTTP/1.1 on Unix
	// only. Off, the client is the strictest: it learns of it by losing a
	// request. (An HTTP/2 connection is always read from, so there it is
	// always seen.)
	Peek bool
	// MaxErrors is how many failures are kept with their texts. Zero: 100.
	MaxErrors int
	// Backlog is, with Rate, how far behind a worker may fall. The requests that
	// were due before that are left out (Counters.Skipped), so that a server
	// that comes back isn't met by all that it has missed. Zero: no bound.
	Backlog time.Duration
	// Samples is about how many latencies are kept with their times, spread over
	// the load's time, the longest of each stretch among them. Zero: none.
	Samples int

	ids *identities
}

// withDefaults returns c with its zero values replaced, or says what is wrong
// with it.
func (c Config) withDefaults() (Config, error) {
	t := &c.Target
	if t.Addr == "" {
		return c, errors.New("load: Target.Addr is empty: name the server's address")
	}
	setDefault(&t.Network, "tcp")
	setDefault(&t.Proto, HTTP1)
	if t.Proto != GRPCHealth {
		setDefault(&t.Path, "/echo")
	}
	setDefault(&t.Method, http.MethodPost)
	setDefault(&t.Identity, pidHeader)
	setDefault(&c.Workers, 1)
	setDefault(&c.Timeout, 10*time.Second)
	setDefault(&c.BodySize, 128)
	setDefault(&c.Window, time.Second)
	setDefault(&c.MaxErrors, 100)
	c.BodySize = max(c.BodySize, 64)

	switch t.Proto {
	case HTTP1, WebSocket, GRPCHealth:
	case HTTP2:
		if t.TLS == nil {
			return c, errors.New(`load: protocol "h2" needs Target.TLS: set it, or use "h2c"`)
		}
	case H2C:
		if t.TLS != nil {
			return c, errors.New(`load: protocol "h2c" is without TLS: leave Target.TLS nil, or use "h2"`)
		}
	default:
		return c, fmt.Errorf(`load: protocol %q: want "h1", "h2", "h2c", "websocket" or "grpc-health"`, t.Proto)
	}
	if c.Workers < 0 || c.Timeout < 0 || c.Rate < 0 || c.Window < 0 || c.Backlog < 0 || c.Samples < 0 {
		return c, errors.New("load: Workers, Timeout, Rate, Window, Backlog and Samples can't be negative")
	}
	if !t.hasBody() && t.Accept == nil {
		return c, fmt.Errorf("load: a %s has no body that could be echoed: set Target.Accept", t.Method)
	}
	if err := c.Shape.fits(t); err != nil {
		return c, err
	}
	if c.Peek && !peekSupported {
		return c, errors.New("load: Peek isn't available on this system: leave it off")
	}
	if t.TLS != nil {
		t.TLS = t.tlsConfig()
	}
	return c, nil
}

func (t Target) tlsConfig() *tls.Config {
	cfg := t.TLS.Clone()
	if cfg.ServerName == "" {
		if host, _, err := net.SplitHostPort(t.Addr); err == nil {
			cfg.ServerName = host
		}
	}
	cfg.NextProtos = []string{"http/1.1"}
	if t.overHTTP2() {
		cfg.NextProtos = []string{"h2"}
	}
	return cfg
}

// host is what the requests name as their host.
func (t Target) host() string {
	if t.Host != "" {
		return t.Host
	}
	if _, _, err := net.SplitHostPort(t.Addr); err != nil {
		return "localhost" // a unix socket's path is no host
	}
	return t.Addr
}

// hasBody says whether requests carry what the answers are compared with.
func (t Target) hasBody() bool {
	return t.Method != http.MethodGet && t.Method != http.MethodHead
}

// overHTTP2 says whether TLS has to agree on it.
func (t Target) overHTTP2() bool { return t.Proto == HTTP2 || t.Proto == GRPCHealth }

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}
