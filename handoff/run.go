package handoff

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Service is a part of a program that [Upgrader.Run] runs, most often made by
// [Serve]. A loop of one's own over a listener or a datagram socket of the
// Upgrader needs Serve alone, which ends by itself when reading returns
// [net.ErrClosed]. It has to wait and go on after syscall.EMFILE and ENFILE from
// Accept, as net/http and [Upgrader.ServeConns] do: they pass.
type Service struct {
	// Serve serves until it is told to end: the Upgrader's listeners and datagram
	// sockets say so by [net.ErrClosed], and Drain by what it does. To return an
	// error earlier stops the whole program; nil only says that this part of it
	// has nothing more to do. After the drain has begun, nil, [net.ErrClosed] and
	// [http.ErrServerClosed] are the normal ends. So is any other error, which is logged
	// then, of a service that has a Drain, and of one whose socket has said net.ErrClosed,
	// for what wraps it may say that in another way. Where it can't be known whose
	// socket that was, as many such errors are normal as sockets have said so to services
	// without a Drain.
	Serve func() error
	// Drain, if not nil, is called when this generation accepts no more. It lets
	// what is in flight come to its end, makes Serve return, and returns then.
	// When ctx ends it cuts off what is left.
	Drain func(ctx context.Context) error

	conns   *connSet // its connections, if they are counted
	accepts bool     // from one listener, and ends with that
}

// hurryTimeout is what a generation that has been told to hurry gives to what is
// in flight.
const hurryTimeout = 5 * time.Second

// stopPatience is how long a service that stops for good waits for the next
// request on an idle connection, to answer it and say that it was the last. Nobody
// gains from more: there is no successor to go to.
const stopPatience = 500 * time.Millisecond

// Run runs the services of this generation to their end: it starts to serve,
// says Ready, and waits. On an upgrade signal the service is handed over to a
// successor; on a stop signal, at the end of ctx, or when a service fails it is
// stopped. Either way Run then lets the connections end, for Options.DrainTimeout at
// most, calls Close, and returns: nil when all went as it should, and the program
// may then exit with status 0.
//
// The process has to exit after Run has returned, with nil too: it serves no more, and
// what it still does, it does beside its successor. Work that is to end with the
// hand-over listens to [Upgrader.Draining].
func (u *Upgrader) Run(ctx context.Context, services ...Service) error {
	defer u.Close()
	ends := make(chan ending, len(services))
	for _, s := range services {
		u.count(s.conns)
		go func() { ends <- ending{s, s.Serve()} }()
	}
	drained := drainEnds{up: u}
	running := len(services)
	fault := u.Ready()
	if errors.Is(fault, ErrStopping) {
		fault = nil // it was told to stop before it was ready: so it does
	}
	if fault != nil {
		u.Stop()
	}
	end := ctx.Done()
	for draining := false; !draining; {
		select {
		case <-u.draining:
			draining = true
		case <-u.done: // somebody has called Close
			draining = true
		case <-end:
			end = nil
			u.post(occurrence{run: func() { u.wishStop(false) }})
		case e := <-ends:
			running--
			if u.isDraining() {
				drained.add(e)
				continue
			}
			if e.err != nil && fault == nil {
				fault = serviceFault(e.err)
			}
			if fault != nil || running == 0 {
				u.Stop()
			}
		}
	}
	u.drainServices(services, ends, running, &drained)
	fault = errors.Join(fault, drained.fault())
	if u.stopped() {
		u.awaitWord()
		u.awaitElders()
	} else {
		u.awaitRevival()
	}
	return fault
}

// awaitWord waits, when this generation stops before its predecessor has handed
// over, until that has heard of it: has it handed over in the same instant, then the
// service ends with us, and with us what the last generation cleans up.
func (u *Upgrader) awaitWord() {
	word := make(chan struct{})
	if !u.post(occurrence{run: func() { u.family.word = word; u.checkWord() }}) {
		return
	}
	select {
	case <-word:
	case <-u.cut:
	case <-time.After(hurryTimeout):
	}
}

// awaitElders waits, when the service stops, for the older generations that still
// drain. They have been told to hurry. This process is the last to go, because a
// service manager takes its end for the end of the service.
func (u *Upgrader) awaitElders() {
	gone := make(chan struct{})
	if !u.post(occurrence{run: func() { u.family.gone = gone; u.checkElders() }}) {
		return
	}
	select {
	case <-gone:
	case <-u.cut:
	case <-time.After(hurryTimeout + time.Second):
	}
}

// count has the connections of a service counted, for reports.
func (u *Upgrader) count(set *connSet) {
	if set == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.connSets == nil {
		u.connSets = make(map[*connSet]struct{})
	}
	u.connSets[set] = struct{}{}
}

// isDraining tells whether the drain has begun, or is about to: a service whose
// socket is closed for the drain may end before u.draining is closed.
func (u *Upgrader) isDraining() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.ended != nil
}

// drainServices drains the services and waits until those that still run have
// ended.
func (u *Upgrader) drainServices(services []Service, ends <-chan ending, running int, drained *drainEnds) {
	ctx, cancel := u.drainContext()
	defer cancel()
	var drains sync.WaitGroup
	for _, s := range services {
		if s.Drain == nil {
			continue
		}
		drains.Go(func() {
			if err := s.Drain(ctx); err != nil {
				u.log.Warn("draining", "error", err)
			}
		})
	}
	for ; running > 0; running-- {
		select {
		case e := <-ends:
			drained.add(e)
		case <-ctx.Done():
			u.log.Warn("a service did not end", "cause", context.Cause(ctx))
			running = 1
		}
	}
	u.waitForDrains(ctx, &drains)
	u.movedTo().report(u.log)
}

// cutTimeout is what a Drain gets to cut off what is left.
const cutTimeout = time.Second

// waitForDrains returns when all have ended, or when one goes on after the end of
// its context: the process is to end all the same.
func (u *Upgrader) waitForDrains(ctx context.Context, drains *sync.WaitGroup) {
	ended := make(chan struct{})
	go func() {
		drains.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	select {
	case <-ended:
	case <-time.After(cutTimeout):
		u.log.Warn("a service's Drain did not end", "cause", context.Cause(ctx))
	}
}

// Causes of the end of a drain's context.
var (
	errDrainTimeout = errors.New("handoff: DrainTimeout is over")
	errHurried      = fmt.Errorf("handoff: told to hurry, and the %v for that are over", hurryTimeout)
	errCut          = errors.New("handoff: told to stop at once")
)

type patienceKey struct{}

// drainContext returns the context of a drain. At its end all is cut off; its
// patience, see patience, may be over earlier.
func (u *Upgrader) drainContext() (context.Context, context.CancelFunc) {
	patience, impatient := context.WithCancel(context.Background())
	ctx := context.WithValue(context.Background(), patienceKey{}, patience)
	if !u.stopped() {
		ctx = context.WithValue(ctx, farewellKey{}, farewellTerms{u.opts, u.hurry})
	}
	ctx, giveUp := context.WithCancelCause(ctx)
	end := time.Now().Add(u.opts.DrainTimeout)
	go func() {
		defer impatient() // no patience outlives the drain
		timeout := time.NewTimer(u.opts.DrainTimeout)
		defer timeout.Stop()
		var soon <-chan time.Time
		if u.stopped() {
			soon = time.After(stopPatience)
		}
		hurry, over := u.hurry, errDrainTimeout
		for {
			select {
			case <-ctx.Done():
				return
			case <-soon:
				impatient()
			case <-hurry:
				hurry = nil
				if soon == nil {
					soon = time.After(stopPatience)
				}
				if hurryTimeout < time.Until(end) {
					timeout.Reset(hurryTimeout)
					over = errHurried
				}
			case <-timeout.C:
				giveUp(over)
			case <-u.cut:
				giveUp(errCut)
			}
		}
	}()
	return ctx, func() { impatient(); giveUp(context.Canceled) }
}

// stopped tells whether this generation's drain is the service's end.
func (u *Upgrader) stopped() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.ended == ErrStopping
}

// patience returns a context that ends when connections that are idle need not be
// waited for any longer, at the latest with ctx.
func patience(ctx context.Context) context.Context {
	if p, ok := ctx.Value(patienceKey{}).(context.Context); ok {
		return p
	}
	return ctx
}

// ListenAndServe serves handler on the TCP address addr under the name "http",
// upgrades itself on SIGHUP, and stops on SIGTERM, SIGINT or the end of ctx. It
// returns nil when this generation has handed over or stopped: the program is to
// exit then. An empty addr means ":http". It logs each step of an upgrade, and why
// one has failed, to [slog.Default].
//
// It takes the place of http.ListenAndServe. For more than one listener, for TLS
// or for options, see [New].
func ListenAndServe(ctx context.Context, addr string, handler http.Handler) error {
	up, err := New(Options{Logger: slog.Default()})
	if err != nil {
		return err
	}
	if addr == "" {
		addr = ":http"
	}
	ln, err := up.Listen("http", "tcp", addr)
	if err != nil {
		up.Close()
		return err
	}
	return up.Run(ctx, Serve(&http.Server{Handler: handler}, ln))
}
