// Echo answers datagrams in all of its generations, for the tests of how these share a
// socket. Without -flows it answers each datagram with itself and its generation. With
// -flows it has connections, as QUIC has: a datagram is "GENERATION FLOW WORD", where
// GENERATION is what the flow's first answer said, 0 in the first. It ends when all of
// its flows have said "bye".
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/handoff-dev/handoff/handoff"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

func run() error {
	var opts handoff.Options
	var packets handoff.PacketOptions
	flag.DurationVar(&opts.DrainTimeout, "drain", 0, "")
	network := flag.String("network", "udp", "")
	address := flag.String("address", "", "")
	flag.StringVar(&opts.PIDFile, "pid-file", "", "")
	flag.DurationVar(&opts.Probation, "probation", 0, "")
	flag.BoolVar(&packets.UntilCommit, "until-commit", false, "read until the commit")
	flag.BoolVar(&opts.Readopt, "readopt", false, "")
	beside := flag.Bool("beside", false, "have a TCP socket too, which comes first")
	withFlows := flag.Bool("flows", false, "have connections")
	hold := flag.Bool("hold", false, "the probation lasts until PID-FILE.health says ok, or anything else for a failure; PID-FILE.health.asked says that it has begun")
	members := flag.Int("group", 1, "read so many sockets of one address")
	flag.Parse()
	if *hold {
		opts.HealthCheck = func(ctx context.Context) error { return healthy(ctx, opts.PIDFile+".health") }
	}
	if *withFlows {
		packets.Owner = generationOf
	}
	opts.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("pid", os.Getpid())

	if *members > 1 {
		opts.ListenConfig = &net.ListenConfig{Control: group}
	}
	up, err := handoff.New(opts)
	if err != nil {
		return err
	}
	defer up.Close()
	if *beside {
		if _, err := up.Listen("beside", "tcp", "127.0.0.1:0"); err != nil {
			return err
		}
	}
	if *members > 1 {
		return runGroup(up, *members, *network, *address, packets)
	}
	conn, err := up.ListenPacketWith("echo", *network, *address, packets)
	if err != nil {
		return err
	}
	f := &flows{generation: up.Generation(), conn: conn, counts: make(map[string]int), none: make(chan struct{}, 1)}
	if !*withFlows {
		return up.Run(context.Background(), handoff.Service{Serve: func() error { return serve(conn, f.echo, func() {}) }})
	}
	return up.Run(context.Background(), handoff.Service{Serve: func() error { return serve(conn, f.answer, f.look) }, Drain: f.drain})
}

func runGroup(up *handoff.Upgrader, members int, network, address string, packets handoff.PacketOptions) error {
	var services []handoff.Service
	for range members {
		conn, err := up.ListenPacketWith("echo", network, address, packets)
		if err != nil {
			return err
		}
		f := &flows{generation: up.Generation()}
		services = append(services, handoff.Service{Serve: func() error { return serve(conn, f.echo, func() {}) }})
	}
	return up.Run(context.Background(), services...)
}

func healthy(ctx context.Context, file string) error {
	if err := os.WriteFile(file+".asked", nil, 0o600); err != nil {
		return err
	}
	for {
		text, err := os.ReadFile(file)
		switch {
		case err == nil && string(text) == "ok":
			return nil
		case err == nil && len(text) > 0:
			return errors.New(string(text))
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func serve(conn net.PacketConn, answer func(string) string, answered func()) error {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		text := answer(string(buf[:n]))
		if _, err := conn.WriteTo([]byte(text), from); err != nil {
			slog.Warn("answering", "client", from, "error", err)
		}
		answered()
	}
}

// generationOf is for whom a datagram is.
func generationOf(datagram []byte, _ net.Addr) int {
	first, _, _ := strings.Cut(string(datagram), " ")
	n, _ := strconv.Atoi(first)
	return n
}

// flows are the connections of this generation.
type flows struct {
	generation int
	conn       net.PacketConn

	mu       sync.Mutex
	counts   map[string]int // datagrams of each flow
	draining bool
	none     chan struct{}
}

func (f *flows) echo(datagram string) string {
	return fmt.Sprintf("%s generation=%d", datagram, f.generation)
}

func (f *flows) answer(datagram string) string {
	part := strings.Fields(datagram)
	if len(part) != 3 {
		return "what?"
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n, known := f.counts[part[1]]
	if !known && part[0] != "0" {
		return fmt.Sprintf("%d unknown", f.generation)
	}
	if part[2] == "bye" {
		delete(f.counts, part[1])
		return fmt.Sprintf("%d bye", f.generation)
	}
	f.counts[part[1]] = n + 1
	return fmt.Sprintf("%d %d %s", f.generation, n+1, part[2])
}

// look looks whether this generation has nothing more to do.
func (f *flows) look() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.draining && len(f.counts) == 0 {
		select {
		case f.none <- struct{}{}:
		default:
		}
	}
}

// drain waits for the end of all flows.
func (f *flows) drain(ctx context.Context) error {
	slog.Info("no more new flows", "generation", f.generation)
	f.mu.Lock()
	f.draining = true
	f.mu.Unlock()
	f.look()
	select {
	case <-f.none:
	case <-ctx.Done():
	}
	return f.conn.Close()
}
