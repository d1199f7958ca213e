package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/bench/record"
)

// losses counts what clients lose, in all shapes.
func (b *bench) losses(ctx context.Context) {
	for round := range b.size.lossRounds {
		for i, group := range sessions(b.quick) {
			b.turns(ctx, round+i, b.peers, func(p *peer) error { return b.lossSession(ctx, p, group) })
		}
	}
}

func (b *bench) lossSession(ctx context.Context, p *peer, group []shape) error {
	s, err := b.open(p, spec{tls: group[0].tls})
	if err != nil {
		return err
	}
	defer b.shut(s)
	runners := make([]*load.Runner, len(group))
	var tail time.Duration
	workers := b.size.workers(len(group))
	for i, sh := range group {
		if runners[i], err = load.Start(ctx, sh.config(s.addr, workers)); err != nil {
			return err
		}
		defer runners[i].Stop() // a second call costs nothing
		tail = max(tail, sh.tail)
	}
	pause(ctx, 300*time.Millisecond)
	hung := 0
	for range b.size.lossUpgrades {
		ok, err := s.upgradeUnderLoad(runners, upgradeLimit)
		if err != nil {
			return err
		}
		if !ok {
			hung++
		}
		pause(ctx, 300*time.Millisecond)
	}
	pause(ctx, max(tail, 200*time.Millisecond))
	results := stopAll(runners)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for i, res := range results {
		b.run.Lose(lossOf(p, group[i], res, workers, b.size.lossUpgrades, hung))
	}
	return nil
}

func lossOf(p *peer, sh shape, res load.Result, workers, upgrades, hung int) record.Loss {
	l := record.Loss{Server: p.name, Shape: sh.name, Upgrades: upgrades, Requests: res.Requests, Failed: res.Failed,
		Failures: map[string]uint64{}, Workers: workers, Keeps: !sh.load.Close, Hung: hung}
	for kind, n := range res.Failures {
		l.Failures[kind.String()] += n
	}
	if l.Keeps {
		l.Reconnects = res.Connections - min(res.Connections, uint64(workers))
	}
	return l
}

func stopAll(runners []*load.Runner) []load.Result {
	results := make([]load.Result, len(runners))
	var all sync.WaitGroup
	for i, r := range runners {
		all.Go(func() { results[i] = r.Stop() })
	}
	all.Wait()
	return results
}

// upgradeUnderLoad upgrades and waits for the old process's end. It returns false if
// that had to be killed.
func (s *server) upgradeUnderLoad(runners []*load.Runner, limit time.Duration) (ok bool, err error) {
	old, err := s.ready()
	if err != nil {
		return false, err
	}
	w, err := watchProcess(old)
	if err != nil {
		return false, err
	}
	defer w.close()
	now := time.Now()
	for _, r := range runners {
		r.Mark(now, "upgrade")
	}
	if err := s.peer.upgrade(s, old); err != nil {
		return false, err
	}
	if _, ok = w.gone(limit); !ok {
		syscall.Kill(old, syscall.SIGKILL)
		w.gone(time.Second)
	}
	for deadline := time.Now().Add(limit); ; time.Sleep(time.Millisecond) {
		if pid, err := s.probe(time.Second); err == nil && pid != old {
			return ok, nil
		}
		if time.Now().After(deadline) {
			return ok, fmt.Errorf("%s: no new process answers\n%s", s.peer.name, s.tail())
		}
	}
}

// latencies are those around upgrades and in steady state, at a fixed rate, so that
// a stall shows in all the requests that it held up.
func (b *bench) latencies(ctx context.Context) {
	peers := b.peers
	if b.quick {
		peers = b.named("handoff", "tableflip", "stop and start")
	}
	for round := range b.size.latencyRounds {
		b.turns(ctx, round, peers, func(p *peer) error { return b.latencySession(ctx, p, round) })
	}
}

func (b *bench) latencySession(ctx context.Context, p *peer, round int) error {
	s, err := b.open(p, spec{})
	if err != nil {
		return err
	}
	defer b.shut(s)
	r, err := load.Start(ctx, load.Config{Target: load.Target{Addr: s.addr}, Shape: load.KeepAlive(),
		Workers: 16, Rate: 2000, Timeout: 5 * time.Second, Window: time.Second})
	if err != nil {
		return err
	}
	defer r.Stop()
	pause(ctx, time.Second)
	for range b.size.latencyUpgrades {
		began := time.Now()
		if _, err := s.upgradeUnderLoad([]*load.Runner{r}, upgradeLimit); err != nil {
			return err
		}
		pause(ctx, 2500*time.Millisecond-time.Since(began))
	}
	res := r.Stop()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for name, period := range map[string]load.Period{"around": res.Around, "steady": res.Steady} {
		for q, d := range map[string]time.Duration{"p50": period.P50, "p99": period.P99, "p99.9": period.P999, "max": period.Max} {
			b.run.Add(q+"_"+name, record.CaseLatency, p.name, "ms", round, ms(d))
		}
	}
	return nil
}

// timed is a situation in which upgrades are timed.
type timed struct {
	name   string
	spec   spec
	conns  int
	rounds int
	each   int // upgrades a round
}

func (b *bench) times(ctx context.Context) {
	z := b.size
	for _, t := range []timed{
		{name: record.CaseIdle, rounds: z.idleRounds, each: 5},
		{name: record.CaseHeap, spec: spec{heapMiB: 1024}, rounds: z.caseRounds, each: 1},
		{name: record.CaseSixtyFour, spec: spec{listeners: 64}, rounds: z.caseRounds, each: 2},
		{name: record.CaseThousand, spec: spec{listeners: 1000}, rounds: z.caseRounds, each: 1},
		{name: record.CaseConns, conns: 10000, rounds: z.caseRounds, each: 1},
	} {
		if len(b.cases) > 0 && !slices.Contains(b.cases, t.name) {
			continue
		}
		t.spec.probation = -1 // the others have none
		peers := b.peers
		if t.spec.heapMiB > 0 {
			peers = b.goPeers() // nginx has no heap to speak of
		}
		for round := range t.rounds {
			b.turns(ctx, round, peers, func(p *peer) error { return b.timedSession(ctx, p, t, round) })
			if t.name == record.CaseIdle {
				b.floors(round)
			}
		}
	}
}

func (b *bench) timedSession(ctx context.Context, p *peer, t timed, round int) error {
	s, err := b.open(p, t.spec)
	if err != nil {
		return err
	}
	defer b.shut(s)
	var crowd *crowd
	if t.conns > 0 {
		if crowd, err = gather(s.addr, t.conns, round); err != nil {
			return err
		}
		defer crowd.close()
	}
	for i := range t.each {
		u, err := s.timedUpgrade(ctx)
		if err != nil {
			return fmt.Errorf("%s, %s: %w\n%s", p.name, t.name, err, s.tail())
		}
		b.addTimes(p.name, t.name, round*t.each+i, u)
	}
	if crowd != nil {
		b.run.Add("idle_lost", t.name, p.name, "connections", round, float64(crowd.lost()))
	}
	return nil
}

func (b *bench) addTimes(peer, where string, round int, u upgradeTimes) {
	b.run.Add("first_answer", where, peer, "ms", round, ms(u.answer.Sub(u.signal)))
	if u.hung {
		b.run.Add("hung", where, peer, "processes", round, 1)
		return
	}
	b.run.Add("signal_gone", where, peer, "ms", round, ms(u.gone.Sub(u.signal)))
	if !u.committed.IsZero() {
		b.run.Add("commit_gone", where, peer, "ms", round, ms(u.gone.Sub(u.committed)))
	}
	if u.rssOld > 0 {
		b.run.Add("rss_old", where, peer, "MiB", round, u.rssOld)
	}
	b.run.Add("rss_new", where, peer, "MiB", round, u.rssNew)
	b.run.Add("rss_after", where, peer, "MiB", round, u.rssAfter)
}

func (b *bench) floors(round int) {
	for i := range 5 {
		for _, p := range b.goPeers() {
			if p.name == "holder" {
				continue // the same program as another
			}
			d, err := b.floor(p)
			if err != nil {
				b.fault(err)
				return
			}
			b.run.Add("floor", record.CaseFloor, p.name, "ms", round*5+i, ms(d))
		}
	}
}

// hundred is the memory after many upgrades.
func (b *bench) hundred(ctx context.Context) {
	peers := b.goPeers()
	if b.quick {
		peers = b.named("handoff", "tableflip")
	}
	b.turns(ctx, 0, peers, func(p *peer) error {
		s, err := b.open(p, spec{probation: -1})
		if err != nil {
			return err
		}
		defer b.shut(s)
		for i := range 100 {
			u, err := s.timedUpgrade(ctx)
			if err != nil {
				return fmt.Errorf("%s, upgrade %d of 100: %w", p.name, i+1, err)
			}
			if u.hung {
				return fmt.Errorf("%s, upgrade %d of 100: the old process was still there after %v", p.name, i+1, upgradeLimit)
			}
			if n := i + 1; n == 1 || n%10 == 0 {
				b.run.Add("rss_after_100", "100 upgrades", p.name, "MiB", n, u.rssAfter)
			}
		}
		return nil
	})
}

// steady is the throughput without upgrades. All servers are there at the same time
// and get the load in turn, in short slices: what the machine does meanwhile meets
// all of them alike.
func (b *bench) steady(ctx context.Context) {
	servers := map[*peer]*server{}
	var peers []*peer
	for _, p := range b.goPeers() {
		s, err := b.open(p, spec{})
		if err != nil {
			b.fault(err)
			continue
		}
		defer b.shut(s)
		servers[p] = s
		peers = append(peers, p)
	}
	for round := range b.size.steadyRounds {
		b.turns(ctx, round, peers, func(p *peer) error { return b.slice(ctx, servers[p], round) })
	}
}

func (b *bench) slice(ctx context.Context, s *server, round int) error {
	r, err := load.Start(ctx, load.Config{Target: load.Target{Addr: s.addr}, Shape: load.KeepAlive(), Workers: 16})
	if err != nil {
		return err
	}
	defer r.Stop()
	pause(ctx, 100*time.Millisecond)
	mallocs, err := s.mallocs()
	if err != nil {
		return err
	}
	before, began := r.Snapshot(), time.Now()
	pause(ctx, b.size.slice)
	after, took := r.Snapshot(), time.Since(began)
	now, err := s.mallocs()
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	n := float64(after.OK - before.OK)
	b.run.Add("throughput", record.CaseSteady, s.peer.name, "req/s", round, n/took.Seconds())
	b.run.Add("allocations", record.CaseSteady, s.peer.name, "objects/request", round, (now-mallocs)/n)
	return nil
}

func (s *server) mallocs() (float64, error) {
	text, err := s.call("GET", "/mallocs")
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(text, 64)
}

// crowd are connections that have had an answer and are idle since.
type crowd struct {
	conns []net.Conn
}

func gather(addr string, n, round int) (*crowd, error) {
	c := &crowd{conns: make([]net.Conn, n)}
	err := c.each(func(i int) error {
		// From many addresses, for the ports of one don't suffice for many rounds.
		d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 8, byte(round), byte(1+i%200))}}
		conn, err := d.Dial("tcp", addr)
		if err != nil {
			return err
		}
		c.conns[i] = conn
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		_, err = roundTrip(conn, bufio.NewReaderSize(conn, 256))
		return err
	})
	if err != nil {
		c.close()
		return nil, fmt.Errorf("%d idle connections: %w", n, err)
	}
	return c, nil
}

// each does something for each of the connections, some at a time, until an error.
func (c *crowd) each(do func(i int) error) (err error) {
	const at = 16
	var all sync.WaitGroup
	errs := make(chan error, at)
	for first := range at {
		all.Go(func() {
			for i := first; i < len(c.conns); i += at {
				if err := do(i); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	select {
	case err = <-errs:
	default:
	}
	return err
}

// lost counts the connections that don't get another answer.
func (c *crowd) lost() (n int) {
	var mu sync.Mutex
	c.each(func(i int) error {
		c.conns[i].SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := roundTrip(c.conns[i], bufio.NewReaderSize(c.conns[i], 256)); err != nil {
			mu.Lock()
			n++
			mu.Unlock()
		}
		return nil
	})
	return n
}

func (c *crowd) close() {
	for _, conn := range c.conns {
		if conn != nil {
			conn.Close()
		}
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
