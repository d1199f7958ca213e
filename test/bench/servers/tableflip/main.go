// The server of the comparison on github.com/cloudflare/tableflip, in the manner of
// its README and its example with net/http.
package main

import (
	"context"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cloudflare/tableflip"
	"github.com/handoff-dev/handoff/test/bench/app"
)

func main() {
	c := app.Parse()
	upg, err := tableflip.New(tableflip.Options{})
	if err != nil {
		app.Fail(err)
	}
	defer upg.Stop()
	go func() {
		sig := make(chan os.Signal, 1)
		signal.Notify(sig, syscall.SIGHUP)
		for range sig {
			if err := upg.Upgrade(); err != nil {
				log.Println("upgrade failed:", err)
			}
		}
	}()
	srv := &http.Server{Handler: app.Handler(), TLSConfig: c.TLSConfig()}
	for _, addr := range c.Addrs() {
		ln, err := upg.Fds.Listen("tcp", addr)
		if err != nil {
			app.Fail(err)
		}
		defer ln.Close()
		go serve(srv, ln, c.TLS)
	}
	if err := upg.Ready(); err != nil {
		app.Fail(err)
	}
	<-upg.Exit()
	app.Commit()
	time.AfterFunc(30*time.Second, func() { os.Exit(1) })
	srv.Shutdown(context.Background())
}

func serve(srv *http.Server, ln net.Listener, overTLS bool) {
	if overTLS {
		srv.ServeTLS(ln, "", "")
		return
	}
	srv.Serve(ln)
}
