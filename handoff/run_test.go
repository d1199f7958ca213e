package handoff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// newUpgrader returns one that nobody's signals or descriptors reach.
func newUpgrader(t *testing.T, opts Options) *Upgrader {
	t.Helper()
	if opts.UpgradeSignals == nil {
		opts.UpgradeSignals = []os.Signal{}
	}
	if opts.StopSignals == nil {
		opts.StopSignals = []os.Signal{}
	}
	u, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return u
}

// running calls Run, and returns what tells of its end.
func running(u *Upgrader, ctx context.Context, services ...Service) <-chan error {
	end := make(chan error, 1)
	go func() { end <- u.Run(ctx, services...) }()
	return end
}

// until waits for the end of Run, or of something else.
func until[T any](t *testing.T, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		t.Fatal(what + " did not come")
	}
	return v
}

func listenLocal(t *testing.T, u *Upgrader) net.Listener {
	t.Helper()
	ln, err := u.Listen("", "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// acceptLoop is the shortest service: it needs no Drain.
func acceptLoop(ln net.Listener) Service {
	return Service{Serve: func() error {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return err
			}
			conn.Close()
		}
	}}
}

func TestAStopEndsRunWithoutAnError(t *testing.T) {
	t.Parallel()
	for range 50 {
		u := newUpgrader(t, Options{})
		end := running(u, context.Background(), acceptLoop(listenLocal(t, u)), acceptLoop(listenLocal(t, u)))
		u.Stop()
		if err := until(t, end, "the end of Run"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAServiceThatEndsWithItsSocketHasNotFailed(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{DrainTimeout: time.Hour})
	closed, ended := make(chan struct{}), make(chan struct{})
	if err := u.register(&shared{end: func() error {
		close(closed)
		<-ended // before the drain can be seen to have begun
		return nil
	}}); err != nil {
		t.Fatal(err)
	}
	hurried := false
	end := running(u, context.Background(), Service{
		Serve: func() error {
			<-closed
			time.AfterFunc(20*time.Millisecond, func() { close(ended) })
			return net.ErrClosed
		},
		Drain: func(ctx context.Context) error {
			select {
			case <-u.hurry:
				hurried = true
			default:
			}
			return nil
		},
	})
	handOver(u)
	if err := until(t, end, "the end of Run"); err != nil {
		t.Errorf("Run: %v", err)
	}
	if hurried {
		t.Error("it was made to hurry")
	}
}

func TestTheEndOfItsContextEndsRun(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	end := running(u, ctx, acceptLoop(listenLocal(t, u)))
	cancel()
	if err := until(t, end, "the end of Run"); err != nil {
		t.Error(err)
	}
	if _, err := u.Listen("", "tcp", "127.0.0.1:0"); !errors.Is(err, ErrStopping) {
		t.Errorf("Listen afterwards: %v, want %v", err, ErrStopping)
	}
}

func TestCloseEndsRun(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{})
	end := running(u, context.Background(), acceptLoop(listenLocal(t, u)))
	u.Close()
	if err := until(t, end, "the end of Run"); err != nil && !errors.Is(err, ErrStopping) {
		t.Error(err)
	}
}

func TestAFailingServiceEndsRunWithItsError(t *testing.T) {
	t.Parallel()
	for _, fault := range []error{errors.New("out of luck"), net.ErrClosed} {
		u := newUpgrader(t, Options{})
		drained := false
		other := acceptLoop(listenLocal(t, u))
		other.Drain = func(context.Context) error { drained = true; return nil }
		end := running(u, context.Background(), other, Service{Serve: func() error { return fault }})
		if err := until(t, end, "the end of Run"); !errors.Is(err, fault) {
			t.Errorf("Run: %v, want %v", err, fault)
		}
		if !drained {
			t.Error("the other service was not drained")
		}
	}
}

func TestAServiceThatEndsInPeaceLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{})
	one, two := make(chan error), make(chan error)
	end := running(u, context.Background(),
		Service{Serve: func() error { return <-one }}, Service{Serve: func() error { return <-two }})
	one <- nil
	select {
	case <-u.Draining():
		t.Error("the end of one service of two ended the program")
	case <-time.After(10 * time.Millisecond):
	}
	two <- nil
	if err := until(t, end, "the end of Run"); err != nil {
		t.Error(err)
	}
}

func TestErrorsOfADrainThatAreNormalEndsAreNone(t *testing.T) {
	t.Parallel()
	odd := errors.New("odd")
	for _, tc := range []struct{ ends, want error }{
		{nil, nil}, {net.ErrClosed, nil}, {http.ErrServerClosed, nil}, {odd, odd},
	} {
		u := newUpgrader(t, Options{})
		served := make(chan struct{})
		end := running(u, context.Background(), Service{Serve: func() error {
			close(served)
			<-u.Draining()
			return tc.ends
		}})
		<-served
		if err := u.Ready(); err != nil {
			t.Fatal(err)
		}
		u.Stop()
		if err := until(t, end, "the end of Run"); !errors.Is(err, tc.want) || tc.want == nil && err != nil {
			t.Errorf("a service ends its drain with %v: Run: %v, want %v", tc.ends, err, tc.want)
		}
	}
}

// oddListener says in its own words that it is closed.
type oddListener struct {
	net.Listener
	odd func(error) error
}

func (l oddListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, l.odd(err)
	}
	return c, nil
}

func TestAnEndOfOurOwnCausingIsNoFailureWhateverAWrapperSays(t *testing.T) {
	t.Parallel()
	for name, odd := range map[string]func(error) error{
		"other words":   func(error) error { return errors.New("mux: listener closed") },
		"no error kept": func(err error) error { return fmt.Errorf("accept: %v", err) },
		"end of file":   func(error) error { return io.EOF },
		"its own kind":  func(error) error { return &net.OpError{Op: "accept", Err: syscall.EINVAL} },
		"wrapped":       func(err error) error { return fmt.Errorf("accept: %w", err) },
	} {
		for way, end := range map[string]func(*Upgrader){"hands over": handOver, "stops": (*Upgrader).Stop} {
			for kind, serve := range map[string]func(*Upgrader, net.Listener) Service{
				"a loop":  func(_ *Upgrader, ln net.Listener) Service { return acceptLoop(ln) },
				"http":    func(_ *Upgrader, ln net.Listener) Service { return Serve(&http.Server{}, ln) },
				"conns":   func(u *Upgrader, ln net.Listener) Service { return u.ServeConns(ln, nil) },
				"another": func(_ *Upgrader, ln net.Listener) Service { return Serve(otherServer{}, ln) },
			} {
				u := newUpgrader(t, Options{})
				over := served(t, u, serve(u, oddListener{listenLocal(t, u), odd}))
				end(u)
				if err := until(t, over, "the end of Run"); err != nil {
					t.Errorf("%s, %s %s: Run: %v", name, kind, way, err)
				}
			}
		}
	}
}

// otherServer is none of net/http, and has nothing to drain.
type otherServer struct{}

func (otherServer) Serve(ln net.Listener) error { return acceptLoop(ln).Serve() }

// A worker that fails in the drain fails though the sockets beside it have ended.
func TestAFailureDuringADrainIsOneWhateverSocketsHaveEnded(t *testing.T) {
	t.Parallel()
	odd := func(ln net.Listener) net.Listener {
		return oddListener{ln, func(error) error { return errors.New("mux: listener closed") }}
	}
	broken := errors.New("broken")
	for name, others := range map[string]func(*Upgrader) []Service{
		"http":         func(u *Upgrader) []Service { return []Service{Serve(&http.Server{}, listenLocal(t, u))} },
		"http, odd":    func(u *Upgrader) []Service { return []Service{Serve(&http.Server{}, odd(listenLocal(t, u)))} },
		"conns, odd":   func(u *Upgrader) []Service { return []Service{u.ServeConns(odd(listenLocal(t, u)), nil)} },
		"another, odd": func(u *Upgrader) []Service { return []Service{Serve(otherServer{}, odd(listenLocal(t, u)))} },
		"a loop":       func(u *Upgrader) []Service { return []Service{acceptLoop(listenLocal(t, u))} },
		"a loop, odd":  func(u *Upgrader) []Service { return []Service{acceptLoop(odd(listenLocal(t, u)))} },
		"many, odd": func(u *Upgrader) []Service {
			return []Service{acceptLoop(odd(listenLocal(t, u))), Serve(&http.Server{}, odd(listenLocal(t, u)))}
		},
	} {
		for way, end := range map[string]func(*Upgrader){"hands over": handOver, "stops": (*Upgrader).Stop} {
			for _, fails := range []bool{true, false} {
				u := newUpgrader(t, Options{})
				worker := Service{Serve: func() error {
					<-u.Draining()
					if fails {
						return broken
					}
					return nil
				}}
				over := served(t, u, append(others(u), worker)...)
				end(u)
				err := until(t, over, "the end of Run")
				if fails && !errors.Is(err, broken) || !fails && err != nil {
					t.Errorf("%s, %s, fails: %v: Run: %v", name, way, fails, err)
				}
			}
		}
	}
}

func TestAServiceThatFailsBeforeTheDrainHasFailedThoughItsListenerIsWrapped(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, serve := range map[string]func(*Upgrader, net.Listener) Service{
		"a loop":  func(_ *Upgrader, ln net.Listener) Service { return acceptLoop(ln) },
		"http":    func(_ *Upgrader, ln net.Listener) Service { return Serve(&http.Server{}, ln) },
		"conns":   func(u *Upgrader, ln net.Listener) Service { return u.ServeConns(ln, nil) },
		"another": func(_ *Upgrader, ln net.Listener) Service { return Serve(otherServer{}, ln) },
	} {
		u := newUpgrader(t, Options{})
		fail := make(chan struct{})
		ln := brokenListener{listenLocal(t, u), fail, broken}
		over := served(t, u, serve(u, ln), acceptLoop(oddListener{listenLocal(t, u), func(error) error { return io.EOF }}))
		close(fail)
		if err := until(t, over, "the end of Run"); !errors.Is(err, broken) {
			t.Errorf("%s: Run: %v", name, err)
		}
	}
}

// brokenListener accepts nobody, and breaks when told to.
type brokenListener struct {
	net.Listener
	fail <-chan struct{}
	with error
}

func (l brokenListener) Accept() (net.Conn, error) {
	<-l.fail
	return nil, l.with
}

func TestAFailureToGetReadyEndsRun(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "missing", "pid")
	u := newUpgrader(t, Options{PIDFile: path})
	err := until(t, running(u, context.Background(), acceptLoop(listenLocal(t, u))), "the end of Run")
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Run: %v, want %v", err, os.ErrNotExist)
	}
}

// stubborn is a service that ends by force only, and tells why.
func stubborn(cause chan<- error) Service {
	cut := make(chan struct{})
	return Service{
		Serve: func() error { <-cut; return nil },
		Drain: func(ctx context.Context) error {
			<-ctx.Done()
			cause <- context.Cause(ctx)
			close(cut)
			return nil
		},
	}
}

func TestDrainTimeoutCuts(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{DrainTimeout: 10 * time.Millisecond})
	cause := make(chan error, 1)
	end := running(u, context.Background(), stubborn(cause))
	u.Stop()
	if err := until(t, cause, "the end of the drain"); err != errDrainTimeout {
		t.Errorf("cause: %v, want %v", err, errDrainTimeout)
	}
	until(t, end, "the end of Run")
}

func TestADrainThatWasHurriedSaysSo(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{DrainTimeout: time.Hour})
	cause := make(chan error, 1)
	end := running(u, context.Background(), stubborn(cause))
	u.Stop()
	<-u.Draining()
	u.Stop()
	if err := until(t, cause, "the end of the drain"); err != errHurried {
		t.Errorf("cause: %v, want %v", err, errHurried)
	}
	until(t, end, "the end of Run")
}

func TestAServiceThatNeverEndsDoesNotHoldUpTheEnd(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{DrainTimeout: 10 * time.Millisecond})
	end := running(u, context.Background(), Service{Serve: func() error { select {} }})
	u.Stop()
	until(t, end, "the end of Run")
}

func TestADrainThatNeverEndsDoesNotHoldUpTheEnd(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{DrainTimeout: 10 * time.Millisecond})
	end := running(u, context.Background(), Service{
		Serve: func() error { <-u.Draining(); return nil },
		Drain: func(context.Context) error { select {} },
	})
	u.Stop()
	until(t, end, "the end of Run")
}

func TestAServiceThatIsToldToStopBeforeItIsReadyStopsInPeace(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{})
	u.Stop()
	until(t, u.Draining(), "the drain")
	if err := until(t, running(u, context.Background()), "the end of Run"); err != nil {
		t.Errorf("Run: %v", err)
	}
	select {
	case <-u.hurry:
		t.Error("it was made to hurry")
	default:
	}
}

func TestTheThirdStopCutsAtOnce(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{DrainTimeout: time.Hour})
	cause := make(chan error, 1)
	end := running(u, context.Background(), stubborn(cause))
	u.Stop() // drain
	u.Stop() // hurry
	u.Stop() // now
	if err := until(t, cause, "the end of the drain"); err != errCut {
		t.Errorf("cause: %v, want %v", err, errCut)
	}
	until(t, end, "the end of Run")
}

func TestToHurryIsNeverToTakeLonger(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{DrainTimeout: 300 * time.Millisecond})
	began := time.Now()
	ctx, cancel := u.drainContext()
	defer cancel()
	p := patience(ctx)
	time.Sleep(200 * time.Millisecond) // most of the drain is over
	close(u.hurry)
	until(t, p.Done(), "the end of patience")
	until(t, ctx.Done(), "the end of the drain")
	if took := time.Since(began); took > 450*time.Millisecond {
		t.Errorf("a drain of 300ms that was told to hurry took %v", took)
	}
}

func TestOnlyAStopMakesADrainImpatientByItself(t *testing.T) {
	t.Parallel()
	for _, why := range []error{ErrStopping, ErrHandedOver} {
		u := newUpgrader(t, Options{})
		u.mu.Lock()
		u.ended = why
		u.mu.Unlock()
		ctx, cancel := u.drainContext()
		select {
		case <-patience(ctx).Done():
			if why == ErrHandedOver {
				t.Error("a generation that has handed over lost its patience")
			}
		case <-time.After(stopPatience + 300*time.Millisecond):
			if why == ErrStopping {
				t.Error("a service that stops has patience for ever")
			}
		}
		if ctx.Err() != nil {
			t.Error("the drain itself is over")
		}
		cancel()
	}
	if ctx := context.Background(); patience(ctx) != ctx {
		t.Error("a foreign context is its own patience")
	}
}
