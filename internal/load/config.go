package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// The protocols of a [Target].
const (
	HTTP1 = "h1"  // HTTP/1.1, over TLS where Target.TLS is set
	HTTP2 = "h2"  // HTTP/2 over TLS
	H2C   = "h2c" // HTTP/2 without TLS, known beforehand (RFC 9113, 3.3)
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
	// Proto is HTTP1, HTTP2 or H2C. Empty: HTTP1.
	Proto string
	// Path of the requests. Empty: "/echo".
	Path string
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
	setDefault(&t.Path, "/echo")
	setDefault(&c.Workers, 1)
	setDefault(&c.Timeout, 10*time.Second)
	setDefault(&c.BodySize, 128)
	setDefault(&c.Window, time.Second)
	setDefault(&c.MaxErrors, 100)
	c.BodySize = max(c.BodySize, 64)

	switch t.Proto {
	case HTTP1:
	case HTTP2:
		if t.TLS == nil {
			return c, errors.New(`load: protocol "h2" needs Target.TLS: set it, or use "h2c"`)
		}
	case H2C:
		if t.TLS != nil {
			return c, errors.New(`load: protocol "h2c" is without TLS: leave Target.TLS nil, or use "h2"`)
		}
	default:
		return c, fmt.Errorf(`load: protocol %q: want "h1", "h2" or "h2c"`, t.Proto)
	}
	if c.Workers < 0 || c.Timeout < 0 || c.Rate < 0 || c.Window < 0 {
		return c, errors.New("load: Workers, Timeout, Rate and Window can't be negative")
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
	if t.Proto == HTTP2 {
		cfg.NextProtos = []string{"h2"}
	}
	return cfg
}

// host is what the requests name as their host.
func (t Target) host() string {
	if _, _, err := net.SplitHostPort(t.Addr); err != nil {
		return "localhost" // a unix socket's path is no host
	}
	return t.Addr
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}
