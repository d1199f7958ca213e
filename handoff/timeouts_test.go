//go:build unix

package handoff

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

// immigrant has a connection come to a server as from an older generation.
func immigrant(t *testing.T, srv *http.Server, age link.Age) *rawClient {
	t.Helper()
	u := newUpgrader(t, Options{})
	ln := listenLocal(t, u)
	served(t, u, Serve(srv, ln))
	from := gated(t, "tcp", gateOpen)
	client := rawDial(t, from)
	c, err := from.socketListener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var fd int
	var derr error
	if err := raw.Control(func(own uintptr) { fd, derr = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); err != nil || derr != nil {
		t.Fatal(err, derr)
	}
	l := ln.(*listener)
	l.lobby.enter([]int{fd}, []wait{waitOf(link.Connections{Ages: []link.Age{age}}.Age(0))}, l)
	return client
}

// ends waits for the end of a connection, which must come long before a limit that began
// anew would end it.
func (c *rawClient) ends(t *testing.T) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c.r); err != nil {
		t.Errorf("the connection does not end: %v", err)
	}
}

const longLimit = time.Hour

func TestTimeLimitsOfAConnectionCountFromTheirBeginningInAnOlderGeneration(t *testing.T) {
	t.Parallel()
	almost := longLimit - 100*time.Millisecond
	for name, tc := range map[string]struct {
		change func(*http.Server)
		age    link.Age
		says   string
	}{
		"silent, ReadHeaderTimeout": {func(s *http.Server) { s.ReadHeaderTimeout = longLimit }, link.Age{New: true, Elapsed: almost}, ""},
		"silent, both":              {func(s *http.Server) { s.ReadHeaderTimeout, s.IdleTimeout = longLimit, 10*longLimit }, link.Age{New: true, Elapsed: almost}, ""},
		"silent, ReadTimeout":       {func(s *http.Server) { s.ReadTimeout = longLimit }, link.Age{New: true, Elapsed: almost}, ""},
		"silent, long over":         {func(s *http.Server) { s.ReadHeaderTimeout = longLimit }, link.Age{New: true, Elapsed: 10 * longLimit}, ""},
		"idle, IdleTimeout":         {func(s *http.Server) { s.IdleTimeout = longLimit }, link.Age{Elapsed: almost}, ""},
		"idle, ReadTimeout":         {func(s *http.Server) { s.ReadTimeout = longLimit }, link.Age{Elapsed: almost}, ""},
		"half a header":             {func(s *http.Server) { s.ReadHeaderTimeout = longLimit }, link.Age{New: true, Elapsed: almost}, "GET / HT"},
		"half a body":               {func(s *http.Server) { s.ReadTimeout = longLimit }, link.Age{New: true, Elapsed: almost}, longPost + "x"},
		"half a header, h2c":        {func(s *http.Server) { s.ReadHeaderTimeout = longLimit; s.Protocols = bothUnencrypted() }, link.Age{New: true, Elapsed: almost}, "GET / HTTP/1.1\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })}
			tc.change(srv)
			c := immigrant(t, srv, tc.age)
			io.WriteString(c, tc.says)
			c.ends(t)
		})
	}
}

func TestTimeLimitsThatAreNotOverLetTheRequestBe(t *testing.T) {
	t.Parallel()
	_, srv := answering("hello")
	srv.ReadHeaderTimeout, srv.ReadTimeout, srv.IdleTimeout = time.Minute, time.Minute, longLimit
	// It has been idle for longer than a request may take.
	c := immigrant(t, srv, link.Age{Elapsed: longLimit / 2})
	for range 3 {
		c.send(t)
		if text, last := c.answer(t); text != "hello" || last {
			t.Errorf("%q, last: %v", text, last)
		}
	}
}

func TestAnOlderReleaseThatTellsNoAgesIsUnderstood(t *testing.T) {
	t.Parallel()
	for _, c := range []link.Connections{{}, {Ages: []link.Age{{Elapsed: -time.Hour}}}} {
		w := waitOf(c.Age(0))
		if w.fresh || time.Since(w.since) > time.Minute || time.Since(w.since) < 0 {
			t.Errorf("%+v: %+v", c, w)
		}
	}
}

func TestTheAgeOfAConnectionGoesOnWithIt(t *testing.T) {
	t.Parallel()
	d := newDeparture(t)
	e, _ := d.emigrant(t)
	e.wait = waitOf(link.Age{New: true, Elapsed: time.Hour})
	d.send(e)
	c, _ := d.next(t)
	if age := c.Age(0); !age.New || age.Elapsed < time.Hour || age.Elapsed > time.Hour+time.Minute {
		t.Errorf("%+v", c.Ages)
	}
	d.answer(t, c.First, 1)
	d.await(t, 0, 1)
	// What leaves a server tells since when.
	l := gated(t, "tcp", gateOpen)
	dialTo(t, l)
	inner, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	left := make(chan *emigrant, 1)
	set := &connSet{to: takes(func(e *emigrant) { left <- e })}
	conn := set.wrap(inner, l, e.wait)
	set.add(conn)
	conn.Read(make([]byte, 4096))
	conn.Close()
	if got := until(t, left, "its departure").wait; got != e.wait {
		t.Errorf("it has waited since %v, want %v", got, e.wait)
	}
}

// net/http counts WriteTimeout from the request's header, whose process is the only one
// that has to do with it.
func TestWriteTimeoutCountsFromTheRequestHoweverLongTheConnectionHasWaited(t *testing.T) {
	t.Parallel()
	for _, age := range []link.Age{{Elapsed: longLimit}, {New: true, Elapsed: longLimit}} {
		_, srv := answering("hello")
		srv.WriteTimeout = time.Minute
		c := immigrant(t, srv, age)
		for range 2 {
			c.send(t)
			if text, last := c.answer(t); text != "hello" || last {
				t.Errorf("%+v: %q, last: %v", age, text, last)
			}
		}
		slow := &http.Server{WriteTimeout: 50 * time.Millisecond, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-time.After(100 * time.Millisecond)
			io.WriteString(w, "too late")
		})}
		c = immigrant(t, slow, age)
		c.send(t)
		if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
			t.Errorf("%+v: after WriteTimeout came %q: %v", age, rest, err)
		}
	}
}
