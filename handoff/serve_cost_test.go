//go:build unix

package handoff

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// wrapped serves with an Upgrader, bare with net/http alone. Both return the
// address.
func wrapped(t testing.TB, srv *http.Server) string {
	u, err := New(Options{UpgradeSignals: []os.Signal{}, StopSignals: []os.Signal{}})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := u.Listen("http", "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan error, 1)
	go func() { end <- u.Run(context.Background(), Serve(srv, ln)) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-end; err != nil && !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

func bare(t testing.TB, srv *http.Server) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	return ln.Addr().String()
}

// routes are both, to compare them.
var routes = []struct {
	name  string
	serve func(testing.TB, *http.Server) string
}{{"bare", bare}, {"wrapped", wrapped}}

// repeater is a client that allocates nothing for a request.
type repeater struct {
	conn   net.Conn
	answer []byte
	buf    []byte
}

var plainRequest = []byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n")

// newRepeater has one answer read, whose length all others are to have.
func newRepeater(t testing.TB, addr string) *repeater {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(5 * time.Minute))
	conn.Write(plainRequest)
	buf := make([]byte, 4096)
	n := 0
	for !bytes.HasSuffix(buf[:n], []byte("\r\n\r\nhello")) {
		m, err := conn.Read(buf[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	return &repeater{conn: conn, answer: bytes.Clone(buf[:n]), buf: buf[:n]}
}

func (r *repeater) request(t testing.TB) {
	if _, err := r.conn.Write(plainRequest); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r.conn, r.buf); err != nil || !bytes.HasSuffix(r.buf, []byte("hello")) {
		t.Fatalf("%q, %v", r.buf, err)
	}
}

func hello() *http.Server {
	text := []byte("hello")
	return &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(text) })}
}

// It does not run in parallel, for what others allocate would be counted.
func TestARequestOnAConnectionThatCanMoveAllocatesNoMoreThanOnAnyOther(t *testing.T) {
	clients, allocs := make(map[string]*repeater), make(map[string]float64)
	for _, way := range routes {
		clients[way.name], allocs[way.name] = newRepeater(t, way.serve(t, hello())), math.Inf(1)
	}
	for i := range 50 { // whatever else runs can only add to it
		for name, r := range clients {
			allocs[name] = min(allocs[name], testing.AllocsPerRun(500, func() { r.request(t) }))
		}
		if i >= 4 && allocs["wrapped"] <= allocs["bare"] {
			break
		}
	}
	t.Logf("allocations a request: %v", allocs)
	if allocs["wrapped"] > allocs["bare"] {
		t.Errorf("%v allocations a request, net/http alone makes %v", allocs["wrapped"], allocs["bare"])
	}
}

// within tells whether a function is being called by another.
func within(function string) bool {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for {
		f, more := frames.Next()
		if f.Function == function {
			return true
		}
		if !more {
			return false
		}
	}
}

// witness is a source of bytes that sees by whom it is read.
type witness struct{ by map[string]bool }

func (w witness) Read(p []byte) (int, error) {
	for function := range w.by {
		w.by[function] = w.by[function] || within(function)
	}
	return len(p), nil
}

// sendfile and splice are what ReadFrom and WriteTo of the socket itself use.
func TestNetHTTPReachesTheSocketsOwnReadFromAndWriteTo(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp", "unix"} {
		u := newUpgrader(t, Options{})
		address := "127.0.0.1:0"
		want := "net.(*TCPConn).ReadFrom"
		if network == "unix" {
			address = filepath.Join(t.TempDir(), "s")
			want = "net/http.(*response).ReadFrom" // a unix socket has none of its own
		}
		ln, err := u.Listen("x", network, address)
		if err != nil {
			t.Fatal(err)
		}
		const size = 1 << 20
		w := witness{map[string]bool{want: false}}
		var seen atomic.Value
		srv := &http.Server{
			ConnContext: func(ctx context.Context, c net.Conn) context.Context {
				seen.Store(&c)
				return ctx
			},
			Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Content-Length", strconv.Itoa(size))
				io.Copy(rw, io.LimitReader(w, size))
			}),
		}
		served(t, u, Serve(srv, ln))
		client := rawDial(t, ln)
		client.send(t)
		if text, _ := client.answer(t); len(text) != size {
			t.Errorf("%d bytes", len(text))
		}
		if !w.by[want] {
			t.Errorf("%s: %s was not called", network, want)
		}
		c := *seen.Load().(*net.Conn)
		if _, ok := c.(io.ReaderFrom); ok != (network == "tcp") {
			t.Errorf("%s: io.ReaderFrom: %v", network, ok)
		}
		if _, ok := c.(io.WriterTo); ok != (network == "tcp") {
			t.Errorf("%s: io.WriterTo: %v", network, ok)
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	for _, way := range routes {
		b.Run("conn="+way.name, func(b *testing.B) {
			r := newRepeater(b, way.serve(b, hello()))
			b.ReportAllocs()
			for b.Loop() {
				r.request(b)
			}
		})
	}
}

// BenchmarkFile serves a file of 1 GiB, with holes only.
func BenchmarkFile(b *testing.B) {
	const size = 1 << 30
	name := filepath.Join(b.TempDir(), "sparse")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		b.Fatal(err)
	}
	if err := os.Truncate(name, size); err != nil {
		b.Fatal(err)
	}
	for _, way := range routes {
		b.Run("conn="+way.name, func(b *testing.B) {
			addr := way.serve(b, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.ServeFile(w, r, name)
			})})
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			buf := make([]byte, 1<<20)
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := conn.Write(plainRequest); err != nil {
					b.Fatal(err)
				}
				n, err := conn.Read(buf)
				header := strings.Index(string(buf[:n]), "\r\n\r\n") + 4
				if err != nil || header < 4 {
					b.Fatalf("%q, %v", buf[:n], err)
				}
				for left := size - (n - header); left > 0; left -= n {
					if n, err = conn.Read(buf[:min(left, len(buf))]); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
