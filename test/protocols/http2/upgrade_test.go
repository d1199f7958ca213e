//go:build linux

package http2

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

func start(t *testing.T, kind string) *graceful.Server {
	t.Helper()
	s := graceful.New(t, "")
	s.Install(proctest.Build(t, proctest.Program{Package: "./server", Race: true}))
	s.Run(proctest.Command(s.Path, "-addr", s.HTTP, "-pid-file", s.PIDFile, "-kind", kind, "-spread", "300ms"))
	return s
}

// counts are of all clients of a test.
type counts struct {
	mu     sync.Mutex
	ok     map[string]int
	pids   map[string]bool
	failed []string
	polite int // connections that ended after two GOAWAY frames, or the first of them
	other  int // those that ended otherwise
}

func (n *counts) fail(what string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.failed = append(n.failed, time.Now().Format("15:04:05.000 ")+what+": "+err.Error())
}

func (n *counts) done(what, pid string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ok[what]++
	n.pids[pid] = true
}

// frames keeps one client after the other busy.
func (n *counts) frames(stop <-chan struct{}, addr string, config *tls.Config, atOnce int) {
	for {
		c, err := dial(addr, config)
		if err == nil {
			err = c.run(stop, atOnce, func(e *exchange) { n.done(e.method, e.pid) })
		}
		if errors.Is(err, errStopped) {
			return
		}
		if err != nil {
			n.fail("frames", err)
			return
		}
		n.mu.Lock()
		if c.away[0] == 1<<31-1 {
			n.polite++
		} else {
			n.other++
		}
		n.mu.Unlock()
	}
}

func (n *counts) rpc(stop <-chan struct{}, addr string, creds credentials.TransportCredentials) {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		n.fail("gRPC", err)
		return
	}
	defer conn.Close()
	for {
		select {
		case <-stop:
			return
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		_, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		cancel()
		if err != nil {
			n.fail("gRPC", err)
			return
		}
		n.done("gRPC", "")
	}
}

func TestTenUpgradesFailNoRequestOverHTTP2(t *testing.T) {
	for _, kind := range []string{"tls", "tls.NewListener", "h2c", "h2c limited", "h2c of x-net", "ConfigureServer", "own TLSNextProto"} {
		t.Run(kind, func(t *testing.T) {
			// Nobody but the server itself can write to a *tls.Conn that somebody else
			// speaks HTTP/2 on. Its only GOAWAY can lose what is sent beside it.
			own := kind == "own TLSNextProto"
			atOnce := 3
			if own {
				atOnce = 1
			}
			s := start(t, kind)
			var config *tls.Config
			creds := insecure.NewCredentials()
			if !strings.HasPrefix(kind, "h2c") {
				config = &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
				creds = credentials.NewTLS(config)
			}
			n := &counts{ok: make(map[string]int), pids: make(map[string]bool)}
			stop := make(chan struct{})
			var working sync.WaitGroup
			for i := range 6 {
				working.Go(func() { n.frames(stop, s.HTTP, config, 1+i%atOnce) })
			}
			for range 2 {
				working.Go(func() { n.rpc(stop, s.HTTP, creds) })
			}
			for range 10 {
				s.Reload()
				pid := fmt.Sprint(s.Main())
				proctest.Until(t, "the new process answers", func() error {
					n.mu.Lock()
					defer n.mu.Unlock()
					if !n.pids[pid] && len(n.failed) == 0 {
						return fmt.Errorf("not %s", pid)
					}
					return nil
				})
			}
			close(stop)
			working.Wait()
			s.Stop()
			t.Logf("%v ok, %d failed; %d connections ended politely, %d otherwise", n.ok, len(n.failed), n.polite, n.other)
			if len(n.failed) > 0 {
				t.Errorf("%d failed: %q", len(n.failed), n.failed[:min(5, len(n.failed))])
			}
			if n.other > 0 && !own {
				t.Errorf("%d connections got no GOAWAY that refuses nothing", n.other)
			}
		})
	}
}

// Whoever has switched HTTP/2 off has HTTP/1.1.
func TestTenUpgradesFailNoRequestWithoutHTTP2(t *testing.T) {
	for _, kind := range []string{"no HTTP2", "no HTTP2 by Protocols"} {
		t.Run(kind, func(t *testing.T) {
			s := start(t, kind)
			config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}}
			conn, err := tls.Dial("tcp", s.HTTP, config)
			if err != nil {
				t.Fatal(err)
			}
			if proto := conn.ConnectionState().NegotiatedProtocol; proto != "http/1.1" {
				t.Errorf("the server speaks %q", proto)
			}
			conn.Close()
			g, err := load.StartGroup(t.Context(), load.Config{Target: load.Target{Addr: s.HTTP, TLS: config}, Shape: load.KeepAlive(), Workers: 4})
			if err != nil {
				t.Fatal(err)
			}
			for range 10 {
				sent := time.Now()
				s.Reload()
				if _, err := g.AwaitFirstAnswer(t.Context(), sent); err != nil {
					t.Fatal(err)
				}
			}
			r := g.Stop()
			s.Stop()
			graceful.NoLoss(t, r)
		})
	}
}
