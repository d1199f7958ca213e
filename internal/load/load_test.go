package load

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestASteadyServerLosesNothing(t *testing.T) {
	shapes := []Shape{
		NewConn(), KeepAlive(), Think(2 * time.Millisecond),
		SlowPost(2 * time.Millisecond), LateFirstByte(2 * time.Millisecond),
	}
	for _, way := range []struct {
		network, proto string
		secure         bool
	}{
		{"tcp", HTTP1, false}, {"unix", HTTP1, false}, {"tcp", HTTP1, true}, {"unix", HTTP1, true},
		{"tcp", HTTP2, true}, {"tcp", H2C, false}, {"unix", H2C, false},
	} {
		name := way.network + " " + way.proto
		if way.secure {
			name += " TLS"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := goodServer(t, way.network, way.proto, way.secure)
			for _, shape := range shapes {
				const workers = 3
				res := runUntil(t, Config{Target: target, Shape: shape, Workers: workers},
					// A worker may be late to begin on a busy machine.
					func(c Counters) bool { return c.Requests >= 60 && c.Connections >= workers })
				if res.OK != res.Requests || res.Reconnects+res.ClosedIdle > 0 {
					t.Errorf("%s: %+v: %v", shape.Name, res.Counters, res.Errors)
				}
				want := uint64(workers)
				if shape.Close {
					want = res.Requests
				}
				if res.Connections != want {
					t.Errorf("%s: %d connections for %d requests, want %d", shape.Name, res.Connections, res.Requests, want)
				}
				if len(res.PIDs) != 1 || res.PIDs[0].PID != 42 || res.PIDs[0].Answers != res.OK {
					t.Errorf("%s: answered by %+v, want 42 alone, %d times", shape.Name, res.PIDs, res.OK)
				}
				if s := res.Steady; s.Requests != res.OK || s.P50 <= 0 || s.P50 > s.P99 || s.P99 > s.P999 || s.P999 > s.Max {
					t.Errorf("%s: latencies %+v", shape.Name, s)
				}
			}
		})
	}
}

// hub is a listener that several servers take turns to accept from, none of
// which can close it for the others.
type hub struct {
	ln    net.Listener
	conns chan net.Conn
}

func newHub(t *testing.T) *hub {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hub{ln: ln, conns: make(chan net.Conn)}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			h.conns <- c
		}
	}()
	return h
}

type turn struct {
	*hub
	over chan struct{}
	once sync.Once
}

func (h *hub) turn() *turn { return &turn{hub: h, over: make(chan struct{})} }

func (l *turn) Addr() net.Addr { return l.ln.Addr() }

func (l *turn) Close() error {
	l.once.Do(func() { close(l.over) })
	return nil
}

func (l *turn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.over:
		return nil, net.ErrClosed
	}
}

// TestShutdownUnderKeepAliveLoadIsSeenToLose replaces net/http servers on one
// listener in the way that every manual shows. It loses requests; a client
// that doesn't see them is of no use here.
func TestShutdownUnderKeepAliveLoadIsSeenToLose(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	r, err := Start(t.Context(), Config{Target: Target{Addr: h.ln.Addr().String()}, Workers: 16, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	start := func(generation int) *http.Server {
		srv := &http.Server{Handler: echoHandler(strconv.Itoa(generation))}
		go srv.Serve(h.turn())
		return srv
	}
	generation := 1
	srv := start(generation)
	for r.Snapshot().Failed == 0 && generation < 200 {
		now := time.Now()
		r.Mark(now, "replace")
		generation++
		next := start(generation)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if err := srv.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		if a, err := r.AwaitFirstAnswer(ctx, now); err != nil || a.PID != generation {
			t.Fatalf("first answer after the replacement: %+v (%v), want %d", a, err, generation)
		}
		cancel()
		srv = next
	}
	res := r.Stop()
	srv.Close()
	t.Logf("%d replacements: %+v", generation-1, res.Counters)
	if res.Lost() == 0 || res.Lost() != res.Failed {
		t.Errorf("%+v after %d replacements, want losses, and nothing else: %v", res.Counters, generation-1, res.Errors)
	}
	if res.Around.Failed != res.Failed {
		t.Errorf("%d of %d failures were near a replacement", res.Around.Failed, res.Failed)
	}
}

func TestLatencyNearMarksIsToldApart(t *testing.T) {
	t.Parallel()
	var slow atomic.Bool
	echo := echoHandler("7")
	h := newHub(t)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slow.Load() {
			<-time.After(30 * time.Millisecond)
		}
		echo.ServeHTTP(w, r)
	})}
	go srv.Serve(h.turn())
	defer srv.Close()
	const window = time.Minute // all that comes after the mark
	r, err := Start(t.Context(), Config{Target: Target{Addr: h.ln.Addr().String()}, Workers: 2, Window: window})
	if err != nil {
		t.Fatal(err)
	}
	until := func(ok func(Counters) bool) {
		for !ok(r.Snapshot()) && t.Context().Err() == nil {
			sleep(t.Context(), time.Millisecond)
		}
	}
	until(func(c Counters) bool { return c.OK > 200 })
	r.Mark(time.Now(), "slow")
	slow.Store(true)
	before := r.Snapshot().OK
	until(func(c Counters) bool { return c.OK > before+4 })
	res := r.Stop()
	if res.Around.Max < 30*time.Millisecond || res.Around.Requests+res.Steady.Requests != res.Requests {
		t.Errorf("near the mark: %+v, in all %d", res.Around, res.Requests)
	}
	if res.Steady.P50 >= 30*time.Millisecond || res.Steady.Requests < 200 {
		t.Errorf("steady: %+v", res.Steady)
	}
}

func TestARequestIsNearAMarkWhenTheyOverlap(t *testing.T) {
	t.Parallel()
	marks := []mark{{at: 100}, {at: 200}}
	for _, test := range []struct {
		start, end time.Duration
		want       bool
	}{
		{0, 99, false}, {0, 100, true}, {90, 500, true}, {100, 101, true},
		{129, 140, true}, {130, 140, false}, {150, 200, true}, {229, 900, true}, {230, 900, false},
	} {
		if got := near(marks, 30, &record{start: test.start, end: test.end}); got != test.want {
			t.Errorf("%d to %d: %t, want %t", test.start, test.end, got, test.want)
		}
	}
}

func TestManyMoreRequestsThanAreKeptAreAllCounted(t *testing.T) {
	t.Parallel()
	b := newBook(time.Second)
	b.mark(10*time.Second, "late")
	b.mark(0, "early")
	var r recorder
	r.init(b)
	const n = 3*recordsKept + 7
	for i := range n {
		at := time.Duration(i) * time.Millisecond
		r.add(record{start: at, end: at, latency: time.Millisecond, pid: 5})
	}
	r.flush()
	if cap(r.kept) != recordsKept {
		t.Errorf("the kept records grew to %d", cap(r.kept))
	}
	if around, steady := b.around.hist.TotalCount(), b.steady.hist.TotalCount(); around != 2000 || around+steady != n {
		t.Errorf("%d near marks and %d not, want 2000 and the rest of %d", around, steady, n)
	}
	if b.pids[5].n != n {
		t.Errorf("%d answers of the process, want %d", b.pids[5].n, n)
	}
}

func TestTheContextsEndAbortsAndStopWaits(t *testing.T) {
	t.Parallel()
	reached := make(chan struct{}, 8)
	addr := fake(t, once(func(c net.Conn, _ []byte) {
		reached <- struct{}{}
		c.Read(make([]byte, 1)) // never answers
	}))
	ctx, cancel := context.WithCancel(t.Context())
	r, err := Start(ctx, Config{Target: Target{Addr: addr}, Workers: 3, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		<-reached
	}
	cancel()
	if res := r.Stop(); res.Aborted != 3 || res.Failed != 0 || res.Requests != 3 {
		t.Errorf("%+v, want 3 aborted: %v", res.Counters, res.Errors)
	}
}

func TestStopWakesAThinkingWorker(t *testing.T) {
	t.Parallel()
	r, err := Start(t.Context(), Config{Target: Target{Addr: fake(t, echoes)}, Shape: Think(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if r.Stop(); time.Since(began) > 5*time.Second {
		t.Errorf("Stop took %v", time.Since(began))
	}
}

func TestARateIsKept(t *testing.T) {
	t.Parallel()
	began := time.Now()
	res := runUntil(t, Config{Target: Target{Addr: fake(t, echoes)}, Workers: 4, Rate: 500},
		func(c Counters) bool { return c.Requests >= 100 })
	if took := time.Since(began); took < 190*time.Millisecond {
		t.Errorf("%d requests in %v at 500 a second", res.Requests, took)
	}
}

func TestAStallShowsInAllTheRequestsThatWereDue(t *testing.T) {
	t.Parallel()
	const stall = 300 * time.Millisecond
	var first sync.Once
	echo := echoHandler("7")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first.Do(func() { <-time.After(stall) })
		echo.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	// Of 40 requests, 10 ms apart, some 30 are due while the first one waits.
	res := runUntil(t, Config{Target: Target{Addr: srv.Listener.Addr().String()}, Rate: 100},
		func(c Counters) bool { return c.Requests >= 40 })
	if res.Steady.P50 < 30*time.Millisecond || res.Steady.Max < stall {
		t.Errorf("latencies %+v with a stall of %v", res.Steady, stall)
	}
}

func TestPausesAreNotLatency(t *testing.T) {
	const pause = 100 * time.Millisecond
	for _, proto := range []string{HTTP1, H2C} {
		for _, shape := range []Shape{SlowPost(pause), {Close: true, Late: pause, Pause: pause}} {
			t.Run(proto+" "+shape.Name, func(t *testing.T) {
				t.Parallel()
				target := goodServer(t, "tcp", proto, false)
				res := runUntil(t, Config{Target: target, Shape: shape}, func(c Counters) bool { return c.Requests >= 5 })
				if res.Steady.P50 > pause/2 {
					t.Errorf("latency %v with pauses of %v", res.Steady.P50, pause)
				}
			})
		}
	}
}

func TestMergedResultsAreTheSumAndMarshal(t *testing.T) {
	t.Parallel()
	good := goodServer(t, "tcp", HTTP1, false)
	bad := Target{Addr: fake(t, once(func(net.Conn, []byte) {}))}
	g, err := StartGroup(t.Context(), Config{Target: good, Shape: KeepAlive()}, Config{Target: bad, Shape: NewConn()})
	if err != nil {
		t.Fatal(err)
	}
	g.Mark(time.Now(), "both")
	for c := g.Snapshot(); (c.OK < 50 || c.Failed < 5) && t.Context().Err() == nil; c = g.Snapshot() {
		sleep(t.Context(), time.Millisecond)
	}
	res := g.Stop()
	one, two := g[0].Stop(), g[1].Stop()
	if res.Requests != one.Requests+two.Requests || res.OK != one.OK || res.Failures[EOF] != two.Failures[EOF] {
		t.Errorf("merged %+v of %+v and %+v", res.Counters, one.Counters, two.Counters)
	}
	if res.Around.Requests+res.Steady.Requests != res.Requests || len(res.Marks) != 1 || len(res.Shapes) != 2 || len(res.PIDs) != 1 {
		t.Errorf("merged: %+v", res)
	}
	text, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	var back Result
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if back.Failures[EOF] != res.Failures[EOF] || back.Steady != res.Steady || len(back.Errors) != len(res.Errors) {
		t.Errorf("as JSON: %s", text)
	}
}

func TestAWrongConfigIsRefused(t *testing.T) {
	t.Parallel()
	for _, cfg := range []Config{
		{},
		{Target: Target{Addr: "127.0.0.1:1", Proto: "spdy"}},
		{Target: Target{Addr: "127.0.0.1:1", Proto: HTTP2}},
		{Target: Target{Addr: "127.0.0.1:1"}, Workers: -1},
	} {
		if r, err := Start(t.Context(), cfg); err == nil {
			r.Stop()
			t.Errorf("%+v was taken", cfg)
		}
	}
}

func TestATargetsOwnDialIsTheWayToIt(t *testing.T) {
	t.Parallel()
	target := goodServer(t, "tcp", HTTP1, false)
	addr, dials := target.Addr, atomic.Uint64{}
	target.Addr = "elsewhere:80"
	target.Dial = func(ctx context.Context, network, asked string) (net.Conn, error) {
		dials.Add(1)
		if network != "tcp" || asked != target.Addr {
			t.Errorf("asked to dial %s %s, want tcp %s", network, asked, target.Addr)
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	res := runUntil(t, Config{Target: target, Shape: NewConn()}, func(c Counters) bool { return c.Requests >= 20 })
	if res.OK != res.Requests || dials.Load() != res.Connections {
		t.Errorf("%d dials: %+v: %v", dials.Load(), res.Counters, res.Errors)
	}
}
