// Server serves HTTP/2 in the way that -kind names, and gRPC's health service with it.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/handoff-dev/handoff/handoff"
)

func main() {
	var opts handoff.Options
	addr := flag.String("addr", "", "serve on `address`")
	kind := flag.String("kind", "tls", "how")
	flag.StringVar(&opts.PIDFile, "pid-file", "", "keep the main process's pid in `file`")
	flag.DurationVar(&opts.DrainSpread, "spread", 0, "as Options.DrainSpread")
	flag.Parse()
	opts.Probation = -1
	if err := run(opts, *addr, *kind); err != nil {
		log.Fatal(err)
	}
}

func run(opts handoff.Options, addr, kind string) error {
	up, err := handoff.New(opts)
	if err != nil {
		return err
	}
	defer up.Close()
	ln, err := up.Listen("http", "tcp", addr)
	if err != nil {
		return err
	}
	config, err := selfSigned()
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: handler()}
	service, err := serve(srv, ln, config, kind)
	if err != nil {
		return err
	}
	return up.Run(context.Background(), service)
}

func serve(srv *http.Server, ln net.Listener, config *tls.Config, kind string) (handoff.Service, error) {
	srv.TLSConfig = config
	switch kind {
	case "tls":
	case "tls.NewListener":
		srv.TLSConfig = nil
		config.NextProtos = []string{"h2", "http/1.1"}
		return handoff.Serve(srv, tls.NewListener(ln, config)), nil
	case "h2c":
		srv.Protocols = new(http.Protocols)
		srv.Protocols.SetHTTP1(true)
		srv.Protocols.SetUnencryptedHTTP2(true)
		return handoff.Serve(srv, ln), nil
	case "h2c limited":
		srv.Protocols = new(http.Protocols)
		srv.Protocols.SetUnencryptedHTTP2(true)
		return handoff.Serve(srv, limited{ln}), nil
	case "h2c of x-net":
		srv.Handler = h2c.NewHandler(srv.Handler, &http2.Server{})
		return handoff.Serve(srv, ln), nil
	case "ConfigureServer":
		if err := http2.ConfigureServer(srv, &http2.Server{MaxConcurrentStreams: 123}); err != nil {
			return handoff.Service{}, err
		}
	case "own TLSNextProto":
		own := &http2.Server{}
		srv.TLSConfig.NextProtos = []string{"h2"}
		srv.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
			"h2": func(srv *http.Server, c *tls.Conn, h http.Handler) {
				ctx := h.(interface{ BaseContext() context.Context }).BaseContext()
				own.ServeConn(c, &http2.ServeConnOpts{Context: ctx, BaseConfig: srv, Handler: h})
			},
		}
	case "no HTTP2":
		srv.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	case "no HTTP2 by Protocols":
		srv.Protocols = new(http.Protocols)
		srv.Protocols.SetHTTP1(true)
	default:
		return handoff.Service{}, fmt.Errorf("unknown kind %q", kind)
	}
	return handoff.ServeTLS(srv, ln, "", ""), nil
}

// limited returns connections of a type that handoff doesn't know.
type limited struct{ net.Listener }

func (l limited) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return struct{ net.Conn }{c}, nil
}

func handler() http.Handler {
	rpc := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(rpc, health.NewServer())
	pid := strconv.Itoa(os.Getpid())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			rpc.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("X-Pid", pid)
		if r.ProtoMajor == 1 { // internal/load wants its own words back
			w.Write(body)
			return
		}
		fmt.Fprintf(w, "%s %d", r.Method, len(body))
	})
}

func selfSigned() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, nil
}
