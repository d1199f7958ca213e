package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
)

// shapes are the load. Their clients look whether the server has closed a connection
// before they send a request on it, as good clients do, and send none twice, as they
// must not: a POST may have been worked on. Over a slow line header and body come in
// two pieces each.
var shapes = []load.Shape{
	{Name: "a new connection each", Close: true, Think: 40 * time.Millisecond},
	{Name: "kept, 0-20 ms between requests", Think: 20 * time.Millisecond},
	{Name: "kept, 0-2 s between requests", Think: 2 * time.Second},
	{Name: "slow line", Think: 20 * time.Millisecond, HeadPause: 20 * time.Millisecond, Pause: 20 * time.Millisecond},
}

// workers of each shape.
var workers = []int{8, 16, 64, 16}

// upgrader is a server that can be upgraded.
type upgrader interface {
	start() error
	// upgrade returns when the new process alone accepts.
	upgrade() error
	stop() error
}

// service is what both servers have: the socket, which is open from beginning to end.
type service struct {
	ln  *net.TCPListener
	dir string
}

func (s *service) addr() string { return s.ln.Addr().String() }

type run struct {
	load.Result
	upgrades []span
}

type span struct{ from, to time.Time }

// measure upgrades a server under load.
func measure(ctx context.Context, server func(*service) upgrader, upgrades int, every time.Duration) (r run, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return r, err
	}
	defer ln.Close()
	dir, err := os.MkdirTemp("", "draining-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	s := &service{ln: ln.(*net.TCPListener), dir: dir}
	up := server(s)
	if err := up.start(); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, up.stop()) }()

	var cfgs []load.Config
	for i, shape := range shapes {
		cfgs = append(cfgs, load.Config{
			Target: load.Target{Addr: s.addr()}, Shape: shape, Workers: workers[i],
			Peek: true, Samples: 6 * dots, MaxErrors: 1 << 20,
		})
	}
	g, err := load.StartGroup(ctx, cfgs...)
	if err != nil {
		return r, err
	}
	defer func() { r.Result = g.Stop() }()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := range upgrades {
		<-tick.C
		from := time.Now()
		g.Mark(from, fmt.Sprint("upgrade ", n+1))
		if err := up.upgrade(); err != nil {
			return r, err
		}
		r.upgrades = append(r.upgrades, span{from, time.Now()})
		c := g.Snapshot()
		fmt.Printf("upgrade %d took %v; up to now %d requests, %d failed, %d reconnects\n",
			n+1, time.Since(from).Round(time.Millisecond), c.Requests, c.Failed, c.Reconnects+c.ClosedIdle)
	}
	<-tick.C
	return r, nil
}

func (s *service) pidFile() string { return filepath.Join(s.dir, "pid") }
