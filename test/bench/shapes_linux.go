package main

import (
	"crypto/tls"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
)

// shape is a load under which requests are counted that an upgrade loses.
type shape struct {
	name  string
	load  load.Shape
	proto string
	tls   bool
	// rate bounds a shape that shares the machine with others; it has none alone.
	rate float64
	// tail is how long after the last upgrade a loss can still show.
	tail time.Duration
}

// shapes are those of the design's measurements, the first six over plain HTTP/1.1.
func shapes() []shape {
	return []shape{
		{name: "new connection", load: load.NewConn(), rate: 300},
		{name: "keep-alive", load: load.KeepAlive(), rate: 1500},
		{name: "think 0–20 ms", load: load.Think(20 * time.Millisecond), rate: 0},
		{name: "slow POST", load: load.SlowPost(50 * time.Millisecond)},
		{name: "first byte 0–20 ms late", load: load.LateFirstByte(20 * time.Millisecond), rate: 300},
		{name: "think 0–4 s", load: load.Think(4 * time.Second), tail: 4500 * time.Millisecond},
		{name: "TLS, keep-alive", load: load.KeepAlive(), tls: true, rate: 800},
		{name: "TLS, think 0–20 ms", load: load.Think(20 * time.Millisecond), tls: true},
		{name: "HTTP/2", load: load.KeepAlive(), tls: true, proto: load.HTTP2, rate: 800},
	}
}

// sessions are the shapes that are put on a server at the same time. In a quick run
// all that a server can have together are; else each has the machine to itself.
func sessions(quick bool) (groups [][]shape) {
	all := shapes()
	if quick {
		return [][]shape{all[:6], all[6:]}
	}
	for i := range all {
		all[i].rate = 0
		groups = append(groups, all[i:i+1])
	}
	return groups
}

func (sh shape) config(addr string, workers int) load.Config {
	c := load.Config{
		Target:  load.Target{Addr: addr, Proto: sh.proto},
		Shape:   sh.load,
		Workers: workers,
		Timeout: 5 * time.Second,
		Rate:    sh.rate,
	}
	if sh.tls {
		c.Target.TLS = &tls.Config{InsecureSkipVerify: true}
	}
	return c
}
