// The server of the comparison on net/http alone: it stops on SIGTERM by Shutdown.
// With LISTEN_FDS in its environment it serves on the sockets from descriptor 3 on.
package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/test/bench/app"
)

func main() {
	c := app.Parse()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	listeners, err := listen(c)
	if err != nil {
		app.Fail(err)
	}
	srv := &http.Server{Handler: app.Handler(), TLSConfig: c.TLSConfig()}
	for _, ln := range listeners {
		if c.TLS {
			go srv.ServeTLS(ln, "", "")
		} else {
			go srv.Serve(ln)
		}
	}
	<-stop
	app.Commit()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	srv.Shutdown(ctx)
}

func listen(c app.Config) (listeners []net.Listener, err error) {
	n, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	for i := range n {
		f := os.NewFile(uintptr(3+i), "LISTEN_FD")
		ln, err := net.FileListener(f)
		if err != nil {
			return nil, err
		}
		f.Close()
		listeners = append(listeners, ln)
	}
	if n > 0 {
		return listeners, nil
	}
	if path, ok := strings.CutPrefix(c.Addr, "unix:"); ok {
		ln, err := net.Listen("unix", path)
		return []net.Listener{ln}, err
	}
	for _, addr := range c.Addrs() {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, err
		}
		listeners = append(listeners, ln)
	}
	return listeners, nil
}
