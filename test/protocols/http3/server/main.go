// Server serves HTTP/3 with quic-go through upgrades, for the tests.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

func run() error {
	var opts handoff.Options
	var untilCommit bool
	address := flag.String("address", "", "")
	flag.StringVar(&opts.PIDFile, "pid-file", "", "")
	flag.DurationVar(&opts.Probation, "probation", 0, "")
	flag.BoolVar(&untilCommit, "until-commit", false, "")
	flag.Parse()
	opts.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("pid", os.Getpid())

	up, err := handoff.New(opts)
	if err != nil {
		return err
	}
	defer up.Close()
	conn, err := up.ListenPacketWith("http3", "udp", *address, handoff.PacketOptions{UntilCommit: untilCommit, Owner: owner})
	if err != nil {
		return err
	}
	certificate, err := selfSigned()
	if err != nil {
		return err
	}
	transport := &quic.Transport{Conn: conn, ConnectionIDGenerator: connectionIDs(up.Generation())}
	ln, err := transport.ListenEarly(http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{certificate}}), nil)
	if err != nil {
		return err
	}
	srv := &http3.Server{Handler: handler(up.Generation())}
	return up.Run(context.Background(), handoff.Service{
		Serve: func() error { return srv.ServeListener(ln) },
		Drain: func(ctx context.Context) error {
			select {
			case <-time.After(handshake): // those that have begun here end here
			case <-ctx.Done():
			}
			err := srv.Shutdown(ctx) // GOAWAY, and wait for the last stream
			return errors.Join(err, transport.Close(), conn.Close())
		},
	})
}

// handshake is how long one may take that began before the successor read.
const handshake = 300 * time.Millisecond

func handler(generation int) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, generation) })
	// A body of n bytes that takes ms milliseconds.
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("n"))
		ms, _ := strconv.Atoi(r.FormValue("ms"))
		const steps = 100
		w.Header().Set("Content-Length", strconv.Itoa(n/steps*steps))
		w.Header().Set("Generation", strconv.Itoa(generation))
		body := make([]byte, n/steps)
		for i := range steps {
			for j := range body {
				body[j] = byte(i + j)
			}
			if _, err := w.Write(body); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			time.Sleep(time.Duration(ms) * time.Millisecond / steps)
		}
	})
	mux.HandleFunc("POST /sum", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Generation", strconv.Itoa(generation))
		w.(http.Flusher).Flush()
		sum := sha256.New()
		if _, err := io.Copy(sum, r.Body); err != nil {
			slog.Warn("upload", "error", err)
			return
		}
		fmt.Fprintf(w, "%x", sum.Sum(nil))
	})
	return mux
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
