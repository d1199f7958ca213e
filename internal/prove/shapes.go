package prove

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
)

// A shape is a kind of client, made of the service's target and of the times
// that its rate allows: apart is the time between two requests of a connection.
type shape struct {
	name, what string
	make       func(t *load.Target, apart time.Duration) load.Shape
	post       bool // requests are POSTs
	paced      bool // it keeps its rate by itself
}

// shapes are the kinds of clients that there are, in the order of their help.
var shapes = []shape{
	{name: "new-conn", what: "a new connection for each request",
		make: func(*load.Target, time.Duration) load.Shape { return load.NewConn() }},
	{name: "keep-alive", what: "kept connections, a request at each beat of the rate",
		make: func(*load.Target, time.Duration) load.Shape { return load.KeepAlive() }},
	{name: "think", what: "kept connections, a request after a random pause", paced: true,
		make: func(_ *load.Target, apart time.Duration) load.Shape { return load.Think(2 * apart) }},
	{name: "slow-header", what: "kept connections, and headers that come in two pieces (HTTP/1.1)",
		make: func(_ *load.Target, apart time.Duration) load.Shape {
			return load.SlowHeader(min(200*time.Millisecond, apart/2))
		}},
	{name: "slow-post", what: "kept connections, and POSTs whose bodies come in two pieces", post: true,
		make: func(_ *load.Target, apart time.Duration) load.Shape {
			return load.SlowPost(min(500*time.Millisecond, apart/2))
		}},
	{name: "late-first-byte", what: "new connections that say nothing at first",
		make: func(_ *load.Target, apart time.Duration) load.Shape { return load.LateFirstByte(apart / 2) }},
	{name: "http2", what: "kept HTTP/2 connections, h2c where the URL is without TLS",
		make: func(t *load.Target, _ time.Duration) load.Shape {
			t.Proto = load.H2C
			if t.TLS != nil {
				t.Proto = load.HTTP2
			}
			return load.KeepAlive()
		}},
	{name: "websocket", what: "kept WebSockets, and messages that have to be echoed",
		make: func(t *load.Target, _ time.Duration) load.Shape {
			t.Proto = load.WebSocket
			return load.KeepAlive()
		}},
	{name: "grpc-health", what: "kept gRPC connections, asking for the health; =SERVICE asks for one's",
		make: func(t *load.Target, _ time.Duration) load.Shape {
			t.Proto = load.GRPCHealth
			return load.KeepAlive()
		}},
}

// ShapeHelp has a line for each kind of client.
func ShapeHelp() string {
	var b strings.Builder
	for _, s := range shapes {
		fmt.Fprintf(&b, "  %-16s %s\n", s.name, s.what)
	}
	return b.String()
}

// defaultShapes are for a target of each protocol; what the service can't take
// of them is left out.
func defaultShapes(t load.Target) []string {
	switch {
	case t.Proto == load.WebSocket:
		return []string{"websocket"}
	case t.Proto == load.GRPCHealth:
		return []string{"grpc-health"}
	case t.Proto != load.HTTP1:
		return []string{"new-conn", "think", "slow-post"}
	case t.TLS != nil:
		return []string{"new-conn", "think", "slow-header", "slow-post", "http2"}
	}
	return []string{"new-conn", "think", "slow-header", "slow-post"}
}

// plan is the load of each shape. chosen: somebody named the shapes.
func (o *Options) plan() (cfgs []load.Config, chosen bool, err error) {
	t, err := load.ParseURL(o.URL)
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrOption, err)
	}
	t.Header, t.Identity = o.Header, o.ExpectChange
	if t.TLS != nil && o.TLS != nil {
		t.TLS = withServerName(o.TLS, t.TLS.ServerName)
	}
	names := o.Shapes
	if chosen = len(names) > 0; !chosen {
		names = defaultShapes(t)
	}
	rate := o.Rate / float64(len(names))
	for _, name := range names {
		cfg, err := o.config(t, name, rate)
		if err != nil {
			return nil, false, err
		}
		cfgs = append(cfgs, cfg)
	}
	return cfgs, chosen, nil
}

func withServerName(cfg *tls.Config, name string) *tls.Config {
	cfg = cfg.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName = name
	}
	return cfg
}

func (o *Options) config(t load.Target, named string, rate float64) (load.Config, error) {
	name, path, hasPath := strings.Cut(named, "=")
	i := slices.IndexFunc(shapes, func(s shape) bool { return s.name == name })
	if i < 0 {
		return load.Config{}, fmt.Errorf("%w: there is no shape %q", ErrOption, name)
	}
	apart := time.Duration(float64(o.Connections) / rate * float64(time.Second))
	was := t.Proto
	sh := shapes[i].make(&t, apart)
	sh.Name = named
	switch {
	case was == load.WebSocket && name != "websocket", was == load.GRPCHealth && name != "grpc-health":
		return load.Config{}, fmt.Errorf("%w: shape %q needs a URL of HTTP", ErrOption, name)
	case t.Proto == load.GRPCHealth:
		if was != load.GRPCHealth || hasPath {
			t.Path = path
		}
	case hasPath && !strings.HasPrefix(path, "/"):
		return load.Config{}, fmt.Errorf("%w: the path of shape %q has to begin with a slash", ErrOption, named)
	case hasPath:
		t.Path = path
	}
	if t.Proto != load.WebSocket && t.Proto != load.GRPCHealth && !o.Echo {
		t.Accept = o.Accept
		if !shapes[i].post {
			t.Method = http.MethodGet
		}
	}
	cfg := load.Config{
		Target: t, Shape: sh, Workers: o.Connections, Timeout: o.Timeout, Window: o.Window,
		Peek: peekSupported, MaxErrors: 1000, Samples: 3000, Backlog: time.Second, Rate: rate, Jitter: true,
	}
	if shapes[i].paced {
		cfg.Rate = 0
	}
	return cfg, nil
}

// probe sends a request of each shape, and returns those that were answered
// well, and why not the others.
func probe(ctx context.Context, cfgs []load.Config) (well []load.Config, ill []*load.Failure, err error) {
	for _, cfg := range cfgs {
		f, err := load.Probe(ctx, cfg)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrOption, err)
		}
		if f == nil {
			well = append(well, cfg)
		} else {
			ill = append(ill, f)
		}
	}
	return well, ill, nil
}
