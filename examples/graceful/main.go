// Graceful is a server that upgrades itself on SIGHUP: replace its file, send the
// signal, and the new version serves on the same sockets, with no request lost.
//
// Started by systemd with a .socket unit it serves on the sockets of that, by
// their names: http, https, unix, udp.
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
	"time"

	"github.com/handoff-dev/handoff/handoff"
)

// version is set by the build: -ldflags "-X main.version=2".
var version = "dev"

func main() {
	var opts handoff.Options
	httpAddr := flag.String("http", "127.0.0.1:8080", "serve HTTP on `address`; empty for none")
	httpsAddr := flag.String("https", "", "serve HTTPS on `address`, with a certificate made at start")
	h2c := flag.Bool("h2c", false, "let clients speak HTTP/2 without TLS too, where HTTP is served")
	unixPath := flag.String("unix", "", "serve HTTP on the unix socket at `path`")
	udpAddr := flag.String("udp", "", "echo datagrams on `address`")
	flag.StringVar(&opts.PIDFile, "pid-file", "", "keep the main process's pid in `file`")
	flag.StringVar(&opts.Control, "control", "", "be controlled by a unix socket at `path`")
	flag.StringVar(&opts.ControlGroup, "control-group", "", "let the members of `group` control the service too")
	preflight := flag.Bool("preflight", false, "before an upgrade run the new version with -t")
	test := flag.Bool("t", false, "only find out whether the arguments are right")
	flag.DurationVar(&opts.ReadyTimeout, "ready-timeout", time.Minute, "how long a successor may take to be ready")
	flag.DurationVar(&opts.Probation, "probation", time.Second, "how long a successor has to live before it takes over; negative for none")
	flag.DurationVar(&opts.DrainTimeout, "drain", 30*time.Second, "how long connections may take to end")
	delay := flag.Duration("ready-delay", 0, "wait before being ready")
	flag.CommandLine.Init("graceful", flag.ContinueOnError)
	flag.Usage = func() {} // a mistake gets one line
	if err := flag.CommandLine.Parse(os.Args[1:]); errors.Is(err, flag.ErrHelp) {
		flag.PrintDefaults()
		os.Exit(0)
	} else if err != nil {
		os.Exit(2)
	}
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "graceful: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	if *httpAddr == "" && *httpsAddr == "" && *unixPath == "" && *udpAddr == "" {
		fmt.Fprintln(os.Stderr, "graceful: nothing to serve: give -http, -https, -unix or -udp")
		os.Exit(2)
	}
	if *test {
		return
	}
	if *preflight {
		// The arguments of an upgrade are those of this process.
		opts.Preflight = append(append([]string{}, os.Args[1:]...), "-t")
	}
	opts.Version = version
	opts.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("pid", os.Getpid(), "version", version)

	// Where the unit has WatchdogSec: replace it by a question to what the service
	// depends on.
	opts.Watchdog = func(context.Context) error { return nil }

	if err := serve(opts, *httpAddr, *httpsAddr, *unixPath, *udpAddr, *h2c, *delay); err != nil {
		fmt.Fprintln(os.Stderr, "graceful:", err)
		var address *net.AddrError
		if errors.Is(err, handoff.ErrBadOption) || errors.As(err, &address) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

func serve(opts handoff.Options, httpAddr, httpsAddr, unixPath, udpAddr string, h2c bool, delay time.Duration) error {
	up, err := handoff.New(opts)
	if err != nil {
		return err
	}
	defer up.Close()

	srv := &http.Server{Handler: handler(up.Generation()), ReadHeaderTimeout: 10 * time.Second}
	if h2c {
		srv.Protocols = new(http.Protocols)
		srv.Protocols.SetHTTP1(true)
		srv.Protocols.SetHTTP2(true)
		srv.Protocols.SetUnencryptedHTTP2(true)
	}
	var services []handoff.Service
	if httpAddr != "" {
		ln, err := up.Listen("http", "tcp", httpAddr)
		if err != nil {
			return err
		}
		services = append(services, handoff.Serve(srv, ln))
	}
	if unixPath != "" {
		ln, err := up.Listen("unix", "unix", unixPath)
		if err != nil {
			return err
		}
		services = append(services, handoff.Serve(srv, ln))
	}
	if httpsAddr != "" {
		ln, err := up.Listen("https", "tcp", httpsAddr)
		if err != nil {
			return err
		}
		if srv.TLSConfig, err = selfSigned(); err != nil {
			return err
		}
		services = append(services, handoff.ServeTLS(srv, ln, "", ""))
	}
	if udpAddr != "" {
		conn, err := up.ListenPacket("udp", "udp", udpAddr)
		if err != nil {
			return err
		}
		services = append(services, handoff.Service{Serve: func() error { return echoDatagrams(conn) }})
	}
	time.Sleep(delay)
	return up.Run(context.Background(), services...)
}

func handler(generation int) http.Handler {
	pid := strconv.Itoa(os.Getpid())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "pid=%s generation=%d version=%s\n", pid, generation, version)
	})
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(w, r.Body); err != nil {
			slog.Warn("echo", "error", err)
		}
	})
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		if d, ok := millis(w, r); ok && pause(r.Context(), d) {
			fmt.Fprintf(w, "pid=%s slept %v\n", pid, d)
		}
	})
	mux.HandleFunc("GET /stream", stream)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Pid", pid)
		mux.ServeHTTP(w, r)
	})
}

// stream sends a line every 100 ms.
func stream(w http.ResponseWriter, r *http.Request) {
	d, ok := millis(w, r)
	if !ok {
		return
	}
	out := http.NewResponseController(w)
	for end := time.Now().Add(d); time.Now().Before(end); {
		if _, err := fmt.Fprintf(w, "pid=%d %v left\n", os.Getpid(), time.Until(end).Round(time.Millisecond)); err != nil {
			return // the client is gone
		}
		if err := out.Flush(); err != nil || !pause(r.Context(), 100*time.Millisecond) {
			return
		}
	}
	fmt.Fprintln(w, "end")
}

// millis reads the query's ms, or answers that it is wrong.
func millis(w http.ResponseWriter, r *http.Request) (time.Duration, bool) {
	ms, err := strconv.ParseUint(r.URL.Query().Get("ms"), 10, 31)
	if err != nil {
		http.Error(w, "ms must be a number of milliseconds: "+err.Error(), http.StatusBadRequest)
		return 0, false
	}
	return time.Duration(ms) * time.Millisecond, true
}

// pause tells whether the time has passed with the client still there.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// echoDatagrams answers each datagram with itself and this process's pid.
func echoDatagrams(conn net.PacketConn) error {
	buf := make([]byte, 64<<10)
	for {
		n, addr, err := conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return nil // the successor reads now
		}
		if err != nil {
			return err
		}
		answer := fmt.Appendf(nil, "%s pid=%d", buf[:n], os.Getpid())
		if _, err := conn.WriteTo(answer, addr); err != nil {
			slog.Warn("answering a datagram", "client", addr, "error", err)
		}
	}
}
