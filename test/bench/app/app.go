// Package app is the program that every server of the comparison runs: the same
// flags, the same handler, the same TLS. What differs is who restarts it.
package app

import (
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// Config is what the flags say.
type Config struct {
	Addr      string // of the first listener
	TLS       bool
	Cert, Key string
	Listeners int
	Probation time.Duration // for the one that has a probation
}

// The environment of a server, which every generation passes on to the next.
const (
	// EventsVariable names the file to which [Commit] appends.
	EventsVariable = "BENCH_EVENTS"
	// FloorVariable has the program only open its listener, write a byte to the
	// descriptor of that number, and end.
	FloorVariable = "BENCH_FLOOR"
)

// Parse reads the flags. With [FloorVariable] it doesn't return.
func Parse() Config {
	var c Config
	flag.StringVar(&c.Addr, "addr", "127.0.0.1:8080", "serve on `address`; unix:PATH is a unix socket, where the server can")
	flag.BoolVar(&c.TLS, "tls", false, "serve HTTPS and HTTP/2")
	flag.StringVar(&c.Cert, "cert", "", "certificate `file`")
	flag.StringVar(&c.Key, "key", "", "key `file`")
	flag.IntVar(&c.Listeners, "listeners", 1, "`number` of listeners: the others are at other loopback addresses, on the same port")
	flag.DurationVar(&c.Probation, "probation", 0, "Options.Probation, where there is one")
	flag.Parse()
	if fd := os.Getenv(FloorVariable); fd != "" {
		floor(fd, c.Addr)
	}
	return c
}

func floor(fd, addr string) {
	n, err := strconv.Atoi(fd)
	if err != nil {
		Fail(err)
	}
	if _, err := net.Listen("tcp", addr); err != nil {
		Fail(err)
	}
	if _, err := os.NewFile(uintptr(n), "floor").Write([]byte{1}); err != nil {
		Fail(err)
	}
	os.Exit(0)
}

// Addrs are the addresses of all listeners, Addr first.
func (c Config) Addrs() []string { return Addrs(c.Addr, c.Listeners) }

// Addrs are n addresses: first, and others of 127.0.0.0/8 with the same port.
func Addrs(first string, n int) []string {
	addrs := []string{first}
	_, port, _ := net.SplitHostPort(first)
	for i := 1; i < n; i++ {
		addrs = append(addrs, net.JoinHostPort(fmt.Sprintf("127.7.%d.%d", i/250, i%250+1), port))
	}
	return addrs
}

// TLSConfig is the server's; nil without TLS.
func (c Config) TLSConfig() *tls.Config {
	if !c.TLS {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		Fail(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}
}

// Commit notes that from now on the old process has only to end.
func Commit() {
	now := time.Now()
	path := os.Getenv(EventsVariable)
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintf(f, "%d %d\n", os.Getpid(), now.UnixNano())
}

// Fail ends the program.
func Fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
