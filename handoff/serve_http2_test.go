package handoff

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frameClient speaks HTTP/2 frame by frame.
type frameClient struct {
	*http2.Framer
	next uint32
}

func newFrameClient(t *testing.T, conn net.Conn) *frameClient {
	t.Helper()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	c := &frameClient{http2.NewFramer(conn, conn), 1}
	if err := c.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return c
}

// get sends a request and returns its stream.
func (c *frameClient) get(t *testing.T, scheme string) uint32 {
	t.Helper()
	var block strings.Builder
	e := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", scheme}, {":authority", "h"}, {":path", "/"}} {
		e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	id := c.next
	c.next += 2
	if err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte(block.String()), EndStream: true, EndHeaders: true}); err != nil {
		t.Fatal(err)
	}
	return id
}

// read returns the next frame that is wanted.
func (c *frameClient) read(t *testing.T, wanted func(http2.Frame) bool) http2.Frame {
	t.Helper()
	for {
		f, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if wanted(f) {
			return f
		}
	}
}

func isGoAway(f http2.Frame) bool { _, ok := f.(*http2.GoAwayFrame); return ok }

func endOf(id uint32) func(http2.Frame) bool {
	return func(f http2.Frame) bool {
		d, ok := f.(*http2.DataFrame)
		return ok && d.StreamID == id && d.StreamEnded()
	}
}

func TestAnHTTP2RequestThatMeetsTheGOAWAYIsAnswered(t *testing.T) {
	t.Parallel()
	cert, trust := certificate(t)
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			u := newUpgrader(t, Options{DrainTimeout: time.Hour})
			var mu sync.Mutex
			states := map[net.Conn][]http.ConnState{}
			_, srv := answering("hello")
			srv.ConnState = func(c net.Conn, s http.ConnState) {
				mu.Lock()
				defer mu.Unlock()
				states[c] = append(states[c], s)
			}
			srv.Protocols = new(http.Protocols)
			srv.Protocols.SetHTTP2(true)
			srv.Protocols.SetUnencryptedHTTP2(true)
			srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
			ln := listenLocal(t, u)
			conn := dialTo(t, ln)
			var end <-chan error
			if scheme == "http" {
				end = served(t, u, Serve(srv, ln))
			} else {
				end = served(t, u, ServeTLS(srv, ln, "", ""))
				config := trust.Clone()
				config.NextProtos = []string{"h2"}
				conn = tls.Client(conn, config)
			}
			c := newFrameClient(t, conn)
			c.read(t, endOf(c.get(t, scheme)))
			handOver(u)
			if g := c.read(t, isGoAway).(*http2.GoAwayFrame); g.LastStreamID != 1<<31-1 || g.ErrCode != http2.ErrCodeNo {
				t.Errorf("the first GOAWAY is %v", g)
			}
			last := c.get(t, scheme) // was on its way
			c.read(t, endOf(last))
			if g := c.read(t, isGoAway).(*http2.GoAwayFrame); g.LastStreamID != last || g.ErrCode != http2.ErrCodeNo {
				t.Errorf("the second GOAWAY is %v, want one that names stream %d", g, last)
			}
			until(t, end, "the end of Run")
			mu.Lock()
			defer mu.Unlock()
			for _, s := range states {
				if len(states) != 1 || s[0] != http.StateNew || !slices.Contains(s, http.StateIdle) {
					t.Errorf("the hook saw %v", states)
				}
			}
		})
	}
}
