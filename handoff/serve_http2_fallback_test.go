package handoff

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/goaway"
)

// Two generations of a server share a listener; the first of them drains, and what is
// assumed of net/http doesn't hold.
func TestWithoutWhatIsAssumedOfNetHTTPNoHTTP2RequestIsLost(t *testing.T) {
	t.Parallel()
	cert, trust := certificate(t)
	for _, seen := range []goaway.Behaviour{{}, {Serves: true}, {Serves: true, Answers: true}} {
		for _, scheme := range []string{"http", "https"} {
			t.Run(fmt.Sprintf("%+v %s", seen, scheme), func(t *testing.T) {
				t.Parallel()
				u := newUpgrader(t, Options{DrainTimeout: time.Minute})
				srv := echoing(cert)
				newHTTPDrain(srv, goaway.InstallAs(srv, func() goaway.Behaviour { return seen }))
				ln := listenLocal(t, u)
				next, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				successor := echoing(cert)
				defer successor.Close()
				var end <-chan error
				if scheme == "http" {
					end = served(t, u, Serve(srv, ln))
					go successor.Serve(next)
				} else {
					end = served(t, u, ServeTLS(srv, ln, "", ""))
					go successor.ServeTLS(next, "", "")
				}
				var clients, begun sync.WaitGroup
				begun.Add(8)
				for range 8 {
					clients.Go(func() {
						once := sync.OnceFunc(begun.Done)
						defer once()
						postUntilMoved(t, scheme, trust, ln.Addr().String(), next.Addr().String(), once)
					})
				}
				begun.Wait()
				handOver(u)
				clients.Wait()
				if err := until(t, end, "the end of Run"); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func echoing(cert tls.Certificate) *http.Server {
	srv := &http.Server{
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
		Protocols: new(http.Protocols),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, r.Proto, " ", r.TLS != nil, " ", n, err)
		}),
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	return srv
}

// unsent is a body that can't be sent again, and knows whether anything of it was.
type unsent struct {
	io.Reader
	read atomic.Bool
}

func (u *unsent) Read(p []byte) (int, error) {
	u.read.Store(true)
	return u.Reader.Read(p)
}

// postUntilMoved posts what can't be sent again, and calls begun after the first answer, until a new connection is needed: that is to
// the next server.
func postUntilMoved(t *testing.T, scheme string, trust *tls.Config, addr, next string, begun func()) {
	var mu sync.Mutex
	var conns []net.Conn
	defer func() { // a client that isn't told twice may keep one
		for _, c := range conns {
			c.Close()
		}
	}()
	transport := &http.Transport{TLSClientConfig: trust.Clone(), Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP2(true)
	transport.Protocols.SetUnencryptedHTTP2(true)
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		to := addr
		if len(conns) > 0 {
			to = next
		}
		c, err := new(net.Dialer).DialContext(ctx, network, to)
		if err == nil {
			conns = append(conns, c)
		}
		return c, err
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	for {
		body := &unsent{Reader: strings.NewReader(strings.Repeat("x", 60000))}
		resp, err := client.Post(scheme+"://"+addr, "text/plain", body)
		if err != nil && !body.read.Load() && strings.Contains(err.Error(), "cannot rewind body") {
			continue // net/http's client gave up a connection that had said GOAWAY, and nothing was sent
		}
		if err != nil {
			t.Error(err)
			return
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if want := fmt.Sprint("HTTP/2.0 ", scheme == "https", " 60000 <nil>"); err != nil || string(text) != want {
			t.Error(errors.Join(err, fmt.Errorf("got %q, want %q", text, want)))
			return
		}
		begun()
		mu.Lock()
		moved := len(conns) > 1
		mu.Unlock()
		if moved {
			return
		}
	}
}
