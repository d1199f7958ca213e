package handoff

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var errNotExist = fs.ErrNotExist

// answering returns a server that answers every request by text, and counts.
func answering(text string) (*atomic.Int64, *http.Server) {
	n := new(atomic.Int64)
	return n, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		io.WriteString(w, text)
	})}
}

// certificate makes one for 127.0.0.1, and the configuration of a client that
// trusts it.
func certificate(t *testing.T) (tls.Certificate, *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
}

// served runs services, and waits until this generation is ready.
func served(t *testing.T, u *Upgrader, services ...Service) (end <-chan error) {
	t.Helper()
	end = running(u, context.Background(), services...)
	if err := u.Ready(); err != nil {
		t.Fatal(err)
	}
	return end
}

// handOver begins the drain as after a commit, where idle connections are waited
// for.
func handOver(u *Upgrader) {
	u.post(occurrence{run: func() {
		u.machine.phase = phaseDraining
		u.drain()
	}})
}

// rawClient is one connection without a client's replays.
type rawClient struct {
	net.Conn
	r *bufio.Reader
}

func rawDial(t *testing.T, ln net.Listener) *rawClient {
	conn := dialTo(t, ln)
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return &rawClient{conn, bufio.NewReader(conn)}
}

func (c *rawClient) send(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
}

func (c *rawClient) answer(t *testing.T) (text string, last bool) {
	t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body), resp.Close
}

func TestARequestOnAnIdleConnectionIsAnsweredWhileDraining(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{})
	_, srv := answering("hello")
	ln := listenLocal(t, u)
	end := served(t, u, Serve(srv, ln))
	used, fresh := rawDial(t, ln), rawDial(t, ln)
	used.send(t)
	if text, last := used.answer(t); text != "hello" || last {
		t.Fatalf("before the drain: %q, last: %v", text, last)
	}
	another := rawDial(t, ln) // was accepted by the time that it is answered
	another.send(t)
	another.answer(t)
	handOver(u)
	until(t, srv.Handler.(*httpDrain).began.Done(), "the drain")
	for _, c := range []*rawClient{used, fresh, another} {
		c.send(t)
		if text, last := c.answer(t); text != "hello" || !last {
			t.Errorf("while draining: %q, last: %v, want an answer that is the last", text, last)
		}
		if _, err := c.r.ReadByte(); err != io.EOF {
			t.Errorf("after the last answer: %v, want %v", err, io.EOF)
		}
	}
	if err := until(t, end, "the end of Run"); err != nil {
		t.Error(err)
	}
}

func TestAServiceThatStopsClosesIdleConnectionsSoon(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{DrainTimeout: time.Hour})
	_, srv := answering("hello")
	ln := listenLocal(t, u)
	end := served(t, u, Serve(srv, ln))
	c := rawDial(t, ln)
	c.send(t)
	c.answer(t)
	u.Stop()
	if _, err := c.r.ReadByte(); err != io.EOF {
		t.Errorf("the idle connection: %v, want %v", err, io.EOF)
	}
	until(t, end, "the end of Run")
}

func TestARequestInFlightIsWaitedForAndCutAtTheTimeout(t *testing.T) {
	t.Parallel()
	for _, timeout := range []time.Duration{time.Hour, 50 * time.Millisecond} {
		u := newUpgrader(t, Options{DrainTimeout: timeout})
		inside, release := make(chan struct{}), make(chan struct{})
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(inside)
			<-release
			io.WriteString(w, "late")
		})}
		ln := listenLocal(t, u)
		end := served(t, u, Serve(srv, ln))
		c := rawDial(t, ln)
		c.send(t)
		<-inside
		handOver(u)
		if timeout == time.Hour {
			<-u.Draining()
			close(release)
			if text, _ := c.answer(t); text != "late" {
				t.Errorf("got %q", text)
			}
			c.Close() // its answer had begun before the drain, and promised more
			until(t, end, "the end of Run")
			continue
		}
		until(t, end, "the end of Run")
		if _, err := c.r.ReadByte(); err == nil {
			t.Error("the connection was not cut")
		}
		close(release)
	}
}

func TestAHijackedConnectionIsToldAndWaitedFor(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{DrainTimeout: time.Hour})
	told := make(chan struct{})
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(conn, "yours\n")
		context.AfterFunc(Draining(r.Context()), func() {
			close(told)
			io.WriteString(conn, "bye\n")
			conn.Close()
		})
	})}
	ln := listenLocal(t, u)
	end := served(t, u, Serve(srv, ln))
	c := rawDial(t, ln)
	c.send(t)
	if line, err := c.r.ReadString('\n'); line != "yours\n" {
		t.Fatal(line, err)
	}
	select {
	case <-told:
		t.Error("told before the drain")
	default:
	}
	handOver(u)
	if line, err := c.r.ReadString('\n'); line != "bye\n" {
		t.Error(line, err)
	}
	until(t, end, "the end of Run")
}

func TestOneServerDrainsOnTwoListeners(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{})
	var states atomic.Int64
	n, srv := answering("hello")
	srv.ConnState = func(net.Conn, http.ConnState) { states.Add(1) }
	base := context.WithValue(context.Background(), http.LocalAddrContextKey, "base")
	srv.BaseContext = func(net.Listener) context.Context { return base }
	one, two := listenLocal(t, u), listenLocal(t, u)
	end := served(t, u, Serve(srv, one), Serve(srv, two))
	var clients []*rawClient
	for _, ln := range []net.Listener{one, two} {
		c := rawDial(t, ln)
		c.send(t)
		c.answer(t)
		clients = append(clients, c)
	}
	handOver(u)
	until(t, srv.Handler.(*httpDrain).began.Done(), "the drain")
	for _, c := range clients {
		c.send(t)
		if _, last := c.answer(t); !last {
			t.Error("a connection was told to go on")
		}
	}
	until(t, end, "the end of Run")
	if n.Load() != 4 || states.Load() == 0 {
		t.Errorf("%d requests came to the handler, want 4; %d states to the program's hook", n.Load(), states.Load())
	}
}

// Each way to speak HTTP has a server of one listener and a client.
func TestEveryProtocolIsServedAndDrained(t *testing.T) {
	t.Parallel()
	cert, trust := certificate(t)
	h1, h2c := new(http.Protocols), new(http.Protocols)
	h1.SetHTTP1(true)
	h2c.SetUnencryptedHTTP2(true)
	for name, tc := range map[string]struct {
		scheme, proto string
		serve         func(*http.Server, net.Listener) Service
		server        func(*http.Server)
		client        *http.Transport
	}{
		"HTTP/1.1": {"http", "HTTP/1.1", func(s *http.Server, ln net.Listener) Service { return Serve(s, ln) }, func(*http.Server) {}, &http.Transport{}},
		"h2c": {"http", "HTTP/2.0", func(s *http.Server, ln net.Listener) Service { return Serve(s, ln) },
			func(s *http.Server) { s.Protocols = h2c }, &http.Transport{Protocols: h2c}},
		"TLS": {"https", "HTTP/1.1", func(s *http.Server, ln net.Listener) Service { return ServeTLS(s, ln, "", "") },
			func(*http.Server) {}, &http.Transport{Protocols: h1}},
		"HTTP/2": {"https", "HTTP/2.0", func(s *http.Server, ln net.Listener) Service { return ServeTLS(s, ln, "", "") },
			func(*http.Server) {}, &http.Transport{ForceAttemptHTTP2: true}},
		"tls.NewListener": {"https", "HTTP/1.1", func(s *http.Server, ln net.Listener) Service { return Serve(s, tls.NewListener(ln, s.TLSConfig)) },
			func(*http.Server) {}, &http.Transport{Protocols: h1}},
		"HTTP/2 by tls.NewListener": {"https", "HTTP/2.0", func(s *http.Server, ln net.Listener) Service {
			c := s.TLSConfig.Clone()
			c.NextProtos = []string{"h2", "http/1.1"}
			return Serve(s, tls.NewListener(ln, c))
		}, func(s *http.Server) { s.TLSConfig.NextProtos = []string{"h2", "http/1.1"} }, &http.Transport{ForceAttemptHTTP2: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newUpgrader(t, Options{DrainTimeout: time.Hour})
			_, srv := answering("hello")
			srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
			tc.server(srv)
			ln := listenLocal(t, u)
			transport := tc.client
			transport.MaxConnsPerHost = 1
			transport.TLSClientConfig = trust.Clone()
			end := served(t, u, tc.serve(srv, ln))
			client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
			get := func() {
				t.Helper()
				resp, err := client.Get(tc.scheme + "://" + ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if string(text) != "hello" || err != nil || resp.Proto != tc.proto {
					t.Errorf("got %q, %v by %s", text, err, resp.Proto)
				}
			}
			get()
			handOver(u)
			until(t, srv.Handler.(*httpDrain).began.Done(), "the drain")
			if tc.proto == "HTTP/1.1" {
				get() // on the idle connection, for nobody accepts any more
			}
			// An idle HTTP/2 connection ends by GOAWAY with no request needed: an
			// hour is not waited for.
			until(t, end, "the end of Run")
		})
	}
}

// limited is a listener like netutil.LimitListener: while there are as many
// connections as it allows, its Accept waits for one to end or for its own Close.
type limited struct {
	net.Listener
	room   chan struct{}
	closed chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.room <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	return c, err
}

func (l *limited) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return l.Listener.Close()
}

func TestAListenerThatDoesNotNoticeItsEndDoesNotHoldUpTheDrain(t *testing.T) {
	t.Parallel()
	for _, deaf := range []bool{false, true} {
		u := newUpgrader(t, Options{DrainTimeout: 100 * time.Millisecond})
		_, srv := answering("hello")
		ln := &limited{listenLocal(t, u), make(chan struct{}, 1), make(chan struct{})}
		service := Serve(srv, ln)
		if deaf {
			service = Serve(srv, struct{ net.Listener }{&deafListener{ln, make(chan struct{})}})
		}
		end := served(t, u, service)
		if !deaf {
			c := rawDial(t, ln)
			c.send(t)
			c.answer(t) // it is idle, and fills the listener
		}
		handOver(u)
		until(t, end, "the end of Run")
	}
}

// deafListener never accepts, and never ends.
type deafListener struct {
	net.Listener
	never chan struct{}
}

func (l *deafListener) Accept() (net.Conn, error) { <-l.never; return nil, net.ErrClosed }

func TestCountedConnectionsKeepTheWayForSendfile(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp", "unix"} {
		l := gated(t, network, gateOpen)
		var set connSet
		dialTo(t, l)
		c, err := (&countedListener{Listener: l, conns: &set}).Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := c.(io.ReaderFrom); !ok && network == "tcp" {
			t.Errorf("a %T has no ReadFrom", c)
		}
		if _, ok := c.(interface{ CloseWrite() error }); !ok {
			t.Errorf("a %T has no CloseWrite", c)
		}
		if set.len() != 1 {
			t.Errorf("%d connections are counted, want 1", set.len())
		}
		none := set.none()
		select {
		case <-none:
			t.Error("none are said to be open")
		default:
		}
		c.Close()
		until(t, none, "the word that none is open")
		c.Close()
	}
}

func TestTheHooksOfAServerSeeItsConnectionInside(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{})
	_, srv := answering("hello")
	inside := make(chan bool, 1)
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		w, ok := c.(*tcpConn)
		inside <- ok && w.TCPConn != nil
		return ctx
	}
	ln := listenLocal(t, u)
	served(t, u, Serve(srv, ln))
	c := rawDial(t, ln)
	c.send(t)
	if text, _ := c.answer(t); !strings.Contains(text, "hello") || !<-inside {
		t.Error("the hook saw another connection")
	}
}
