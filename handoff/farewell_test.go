package handoff

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// departures are when clients were sent away, counted from the commit.
type departures struct {
	mu    sync.Mutex
	begun time.Time
	after []time.Duration
}

func (d *departures) note() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.after = append(d.after, time.Since(d.begun))
}

// judge wants n departures, none earlier than first, and no crowd of them.
func (d *departures) judge(t *testing.T, n int, first, spread time.Duration) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.after) != n {
		t.Fatalf("%d clients were sent away, not %d", len(d.after), n)
	}
	slices.Sort(d.after)
	t.Logf("from %v to %v, half of them by %v", d.after[0], d.after[n-1], d.after[n/2])
	if d.after[0] < first {
		t.Errorf("the first was sent away after %v, want %v", d.after[0], first)
	}
	// Of as many at random there are some in the first third and in the last. On a
	// machine that is busy they come later, and not earlier.
	if d.after[n-1]-d.after[0] < spread*2/3 {
		t.Errorf("all were sent away within %v, want some %v", d.after[n-1]-d.after[0], spread)
	}
}

func tlsDial(t *testing.T, ln net.Listener, config *tls.Config) *rawClient {
	t.Helper()
	conn := tls.Client(dialTo(t, ln), config)
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return &rawClient{conn, bufio.NewReader(conn)}
}

const (
	testSpread = 900 * time.Millisecond
	testIdle   = 300 * time.Millisecond
)

// farewellServer serves HTTPS with the options above.
func farewellServer(t *testing.T) (u *Upgrader, ln net.Listener, trust *tls.Config, end <-chan error) {
	t.Helper()
	cert, trust := certificate(t)
	u = newUpgrader(t, Options{DrainTimeout: time.Minute, DrainSpread: testSpread, DrainIdle: testIdle})
	_, srv := answering("hello")
	srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	ln = listenLocal(t, u)
	return u, ln, trust, served(t, u, ServeTLS(srv, ln, "", ""))
}

func TestIdleClientsOfTLSAreSentAwayOneAfterTheOther(t *testing.T) {
	t.Parallel()
	u, ln, trust, end := farewellServer(t)
	const n = 60
	clients := make([]*rawClient, n)
	for i := range clients {
		clients[i] = tlsDial(t, ln, trust)
		if i%6 != 0 { // the others have not sent a request yet
			clients[i].send(t)
			clients[i].answer(t)
		}
	}
	last := tlsDial(t, ln, trust) // it has its answer, so all before were accepted
	last.send(t)
	last.answer(t)
	last.Close()
	d := &departures{begun: time.Now()}
	handOver(u)
	var reading sync.WaitGroup
	for _, c := range clients {
		reading.Go(func() {
			if _, err := c.r.ReadByte(); err != io.EOF {
				t.Errorf("the end of an idle connection is %v, want TLS's own", err)
			}
			d.note()
		})
	}
	reading.Wait()
	d.judge(t, n, testIdle, testSpread)
	if err := until(t, end, "the end of Run"); err != nil {
		t.Error(err)
	}
}

func TestBusyClientsOfTLSAreSentAwayOneAfterTheOtherAndLoseNothing(t *testing.T) {
	t.Parallel()
	u, ln, trust, end := farewellServer(t)
	const n = 40
	d := &departures{}
	var working sync.WaitGroup
	var begun sync.WaitGroup
	begun.Add(n)
	drains := make(chan struct{})
	for range n {
		c := tlsDial(t, ln, trust)
		working.Go(func() {
			c.send(t)
			c.answer(t)
			begun.Done()
			<-drains
			for {
				c.send(t)
				if text, last := c.answer(t); last {
					break
				} else if text != "hello" {
					t.Errorf("got %q", text)
				}
				time.Sleep(10 * time.Millisecond) // it thinks
			}
			d.note()
		})
	}
	begun.Wait()
	d.begun = time.Now()
	handOver(u)
	close(drains)
	working.Wait()
	d.judge(t, n, 0, testSpread)
	if err := until(t, end, "the end of Run"); err != nil {
		t.Error(err)
	}
}

// toldConn tells when its client closes it.
type toldConn struct {
	net.Conn
	closed func()
}

func (c *toldConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

func TestClientsOfHTTP2AreSentAwayOneAfterTheOther(t *testing.T) {
	t.Parallel()
	u, ln, trust, end := farewellServer(t)
	const n = 60
	d := &departures{}
	var closing sync.WaitGroup
	closing.Add(n)
	for range n {
		var once sync.Once
		transport := &http.Transport{
			ForceAttemptHTTP2: true,
			TLSClientConfig:   trust.Clone(),
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := new(net.Dialer).DialContext(ctx, network, addr)
				return &toldConn{c, func() { once.Do(func() { d.note(); closing.Done() }) }}, err
			},
		}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Get("https://" + ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if resp.ProtoMajor != 2 {
			t.Fatal(resp.Proto)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	d.begun = time.Now()
	handOver(u)
	closing.Wait()
	d.judge(t, n, 0, testSpread)
	if err := until(t, end, "the end of Run"); err != nil {
		t.Error(err)
	}
}

func TestAConnectionIsNotClosedWhileSomethingComesOnIt(t *testing.T) {
	t.Parallel()
	for range 10 {
		u, ln, trust, end := farewellServer(t)
		slow := tlsDial(t, ln, trust)
		slow.send(t)
		slow.answer(t)
		handOver(u)
		text := "GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("y", 20) + "\r\n\r\n"
		longest, err := sendSlowly(slow, text, 2*(testIdle+testSpread)) // slower than DrainIdle in all, but not between two bytes
		if longest > testIdle/2 {
			slow.Close() // this machine is too busy for it to have been so
			if err := until(t, end, "the end of Run"); err != nil {
				t.Error(err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if text, last := slow.answer(t); text != "hello" || !last {
			t.Errorf("%q, last: %v", text, last)
		}
		if err := until(t, end, "the end of Run"); err != nil {
			t.Error(err)
		}
		return
	}
	t.Error("this machine is too busy to write bytes in time")
}

// sendSlowly writes text byte by byte, in so much time at least, and returns the
// longest time between two of them.
func sendSlowly(w io.Writer, text string, in time.Duration) (longest time.Duration, err error) {
	last := time.Now()
	for i := range text {
		if _, err = io.WriteString(w, text[i:i+1]); err != nil {
			break
		}
		now := time.Now()
		longest, last = max(longest, now.Sub(last)), now
		time.Sleep(in / time.Duration(len(text)))
	}
	return max(longest, time.Since(last)), err
}

func TestAGenerationThatHasToHurryWaitsForNobodysTurn(t *testing.T) {
	t.Parallel()
	cert, trust := certificate(t)
	u := newUpgrader(t, Options{DrainTimeout: time.Hour, DrainSpread: time.Hour})
	_, srv := answering("hello")
	srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	ln := listenLocal(t, u)
	end := served(t, u, ServeTLS(srv, ln, "", ""))
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: trust.Clone()}
	defer transport.CloseIdleConnections()
	for range 2 {
		resp, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Get("https://" + ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	c := tlsDial(t, ln, trust)
	c.send(t)
	c.answer(t)
	handOver(u)
	until(t, srv.Handler.(*httpDrain).began.Done(), "the drain")
	c.send(t)
	if _, last := c.answer(t); last {
		t.Error("it was not yet the client's turn")
	}
	u.post(occurrence{run: func() { closeOnce(u.hurry) }})
	for n := 0; ; n++ {
		c.send(t)
		if _, last := c.answer(t); last {
			break
		}
		if n > 10000 {
			t.Fatal("the client is not told to go")
		}
	}
	until(t, end, "the end of Run")
}

func TestTheDefaultSpreadIsForACrowdOnly(t *testing.T) {
	t.Parallel()
	opts := Options{DrainTimeout: 30 * time.Second}
	for _, tc := range []struct {
		n            int
		spread, idle time.Duration
		opts         Options
	}{
		{100, 0, 27 * time.Second, opts},
		{5000, 5 * time.Second, 22 * time.Second, opts},
		{100000, 15 * time.Second, 12 * time.Second, opts},
		{100000, 0, 27 * time.Second, Options{DrainTimeout: 30 * time.Second, DrainSpread: -1}},
		{1, time.Second, time.Minute, Options{DrainTimeout: 30 * time.Second, DrainSpread: time.Second, DrainIdle: time.Minute}},
		{1, time.Minute, 0, Options{DrainTimeout: 30 * time.Second, DrainSpread: time.Minute}},
	} {
		if f := newFarewell(tc.opts, tc.n); f.spread != tc.spread || f.idle != tc.idle {
			t.Errorf("%d connections, %v: %v and %v", tc.n, tc.opts, f.spread, f.idle)
		}
	}
	if _, err := New(Options{DrainIdle: -1}); !errors.Is(err, ErrBadOption) {
		t.Error(err)
	}
}

// What has come in the instant in which a connection was to be closed is read.
func TestARequestThatIsThereWhenItsConnectionIsToBeClosedIsServed(t *testing.T) {
	t.Parallel()
	l := gated(t, "tcp", gateOpen)
	client := dialTo(t, l)
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := new(connSet).wrap(c, nil, wait{}).(*tcpConn)
	io.WriteString(client, "request")
	for !hasBytes(w.inner) {
		time.Sleep(time.Millisecond)
	}
	// As if the bytes had come between the wake-up and the close.
	w.idle.mu.Lock()
	w.idle.reading = true
	w.idle.mu.Unlock()
	w.idle.expel(time.Now(), time.Now().Add(-time.Hour), time.Minute)
	buf := make([]byte, 100)
	n, err := w.Read(buf)
	if err != nil || !bytes.Equal(buf[:n], []byte("request")) {
		t.Errorf("%q, %v", buf[:n], err)
	}
	// And what is silent ends by its deadline.
	ended := make(chan error, 1)
	go func() { _, err := w.Read(buf); ended <- err }()
	for n := range 10000 {
		w.idle.expel(time.Now().Add(time.Duration(n)*time.Hour), time.Time{}, time.Minute)
		select {
		case err := <-ended:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
			}
			return
		case <-time.After(time.Millisecond):
		}
	}
	t.Error("the read of a silent connection does not end")
}
