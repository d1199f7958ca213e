//go:build linux

package httpclient

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

// posts are requests that the client can't send again: they have a body and, if not
// replaying, no GetBody.
type posts struct {
	url       string
	client    *http.Client
	proto     string
	replaying bool

	mu     sync.Mutex
	ok     int
	failed []string
	pids   map[string]bool
}

func (p *posts) post(i int) {
	body := fmt.Sprintf("request %d", i)
	pid, err := func() (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "POST", p.url, io.NopCloser(strings.NewReader(body)))
		if err != nil {
			return "", err
		}
		req.ContentLength = int64(len(body))
		if p.replaying {
			req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }
		}
		resp, err := p.client.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); err != nil || string(text) != body || resp.StatusCode != http.StatusOK || resp.Proto != p.proto {
			return "", fmt.Errorf("%s %q %w", resp.Status, text, err)
		}
		return resp.Header.Get("X-Pid"), nil
	}()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.failed = append(p.failed, time.Now().Format("15:04:05.000 ")+err.Error())
		return
	}
	p.ok++
	p.pids[pid] = true
}

// Over HTTP/2, http.Transport alone would not do: a request that comes to a
// connection in the moment in which its GOAWAY arrives goes to another one only if its
// body can be had again, even though nothing of it was sent. So it gets GetBody.
func TestTwentyUpgradesFailNoPost(t *testing.T) {
	// The server makes its certificate itself. Each client has a configuration of its
	// own, for http.Transport writes the protocols that it wants into it.
	config := func() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }
	h1, h2 := new(http.Protocols), new(http.Protocols)
	h1.SetHTTP1(true)
	h2.SetHTTP2(true)
	for name, tc := range map[string]struct {
		client    http.RoundTripper
		proto     string
		replaying bool
	}{
		"HTTP1 of net-http": {&http.Transport{TLSClientConfig: config(), Protocols: h1, MaxIdleConnsPerHost: 16}, "HTTP/1.1", false},
		"HTTP2 of net-http": {&http.Transport{TLSClientConfig: config(), Protocols: h2}, "HTTP/2.0", true},
		"HTTP2 of x-net":    {&http2.Transport{TLSClientConfig: config()}, "HTTP/2.0", xnetNeedsGetBody},
	} {
		t.Run(name, func(t *testing.T) {
			s := graceful.Start(t)
			p := &posts{url: "https://" + s.TLS + "/echo", client: &http.Client{Transport: tc.client}, replaying: tc.replaying, proto: tc.proto, pids: make(map[string]bool)}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var wg sync.WaitGroup
			for worker := range 16 {
				wg.Go(func() {
					for i := 0; ctx.Err() == nil; i++ {
						p.post(i)
						if worker%2 == 0 {
							time.Sleep(rand.N(50 * time.Millisecond))
						}
					}
				})
			}
			answers := func() {
				pid := fmt.Sprint(s.Main())
				proctest.Until(t, "the process answers", func() error {
					p.mu.Lock()
					defer p.mu.Unlock()
					if !p.pids[pid] {
						return fmt.Errorf("not %s", pid)
					}
					return nil
				})
			}
			answers() // the first one too: it is counted below
			for range 20 {
				s.Reload()
				answers()
			}
			stop()
			wg.Wait()
			p.client.CloseIdleConnections()
			s.Stop()
			t.Logf("%d ok, %d failed", p.ok, len(p.failed))
			if len(p.failed) > 0 || len(p.pids) != 21 {
				t.Errorf("%d failed: %q", len(p.failed), p.failed[:min(5, len(p.failed))])
			}
		})
	}
}
