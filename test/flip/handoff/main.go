// Handoff is the server of ../tableflip after it has moved to handoff.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/handoff/flip"
)

var (
	httpAddr = flag.String("http", "127.0.0.1:0", "serve HTTP on `address`")
	unixPath = flag.String("unix", "", "serve HTTP on the unix socket at `path`")
	udpAddr  = flag.String("udp", "", "echo datagrams on `address`")
	peer     = flag.String("peer", "", "keep a connection to `address`")
	memo     = flag.String("memo", "", "keep the file at `path` open")
	pidFile  = flag.String("pid-file", "", "`path` of the PID file")
	_        = flag.String("fail", "", "for its like of tableflip's")
)

var address net.Addr // of the TCP listener

// probation is set by the build.
var probation = "-1ns"

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "handoff:", err)
		os.Exit(1)
	}
}

func run() error {
	d, err := time.ParseDuration(probation)
	if err != nil {
		return err
	}
	up, err := flip.NewHandoff(handoff.Options{
		PIDFile:      *pidFile,
		Probation:    d,
		ReadyTimeout: 20 * time.Second,
		DrainTimeout: 20 * time.Second,
		Logger:       slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("pid", os.Getpid()),
	}, nil)
	if err != nil {
		return err
	}
	defer up.Close()

	conn, file, err := kept(up)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler(up.Generation(), conn, file)}
	var services []handoff.Service
	ln, err := up.Listen("http", "tcp", *httpAddr)
	if err != nil {
		return err
	}
	address = ln.Addr()
	services = append(services, handoff.Serve(server, ln))
	if *unixPath != "" {
		ln, err := up.Listen("local", "unix", *unixPath)
		if err != nil {
			return err
		}
		services = append(services, handoff.Serve(server, ln))
	}
	if *udpAddr != "" {
		pc, err := up.ListenPacket("datagrams", "udp", *udpAddr)
		if err != nil {
			return err
		}
		services = append(services, handoff.Service{Serve: func() error { return echo(pc) }})
	}
	return up.Run(context.Background(), services...)
}

// kept takes what tableflip knows as Conn and File, and hands it on under the same names.
func kept(up *handoff.Upgrader) (conn net.Conn, file *os.File, err error) {
	if *peer != "" {
		name := flip.ConnName("tcp", *peer)
		if conn, err = up.Inherited().Conn(handoff.ByName(name)); err != nil {
			return nil, nil, err
		}
		if err := up.Keep(handoff.File{Name: name, Conn: conn.(syscall.Conn)}); err != nil {
			return nil, nil, err
		}
	}
	if *memo != "" {
		name := flip.FileName("memo: a file")
		if file, err = up.Inherited().File(handoff.ByName(name)); err != nil {
			return nil, nil, err
		}
		if err := up.Keep(handoff.File{Name: name, Conn: file}); err != nil {
			return nil, nil, err
		}
	}
	return conn, file, nil
}

func handler(generation int, conn net.Conn, file *os.File) http.Handler {
	pid := strconv.Itoa(os.Getpid())
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(w, r.Body); err != nil {
			slog.Warn("echo", "error", err)
		}
	})
	mux.HandleFunc("GET /address", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, address)
	})
	mux.HandleFunc("GET /kept", func(w http.ResponseWriter, r *http.Request) {
		_, cerr := fmt.Fprintln(conn, pid)
		_, ferr := fmt.Fprintln(file, pid)
		fmt.Fprintln(w, generation > 1, cerr, ferr)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Pid", pid)
		mux.ServeHTTP(w, r)
	})
}

func echo(pc net.PacketConn) error {
	buf := make([]byte, 2048)
	for {
		n, addr, err := pc.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := pc.WriteTo(fmt.Appendf(nil, "%s pid=%d", buf[:n], os.Getpid()), addr); err != nil {
			slog.Warn("echo", "error", err)
		}
	}
}
