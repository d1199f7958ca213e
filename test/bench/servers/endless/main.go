// The server of the comparison on github.com/fvbock/endless.
package main

import (
	"net/http"
	"sync"

	"github.com/fvbock/endless"
	"github.com/handoff-dev/handoff/test/bench/app"
)

func main() {
	c := app.Parse()
	handler := app.Handler()
	var all sync.WaitGroup
	for _, addr := range c.Addrs() {
		all.Go(func() { serve(addr, handler, c) })
	}
	all.Wait()
}

// serve returns when the successor has taken over; endless returns an error then.
func serve(addr string, handler http.Handler, c app.Config) {
	srv := endless.NewServer(addr, handler)
	if c.TLS {
		srv.TLSConfig = c.TLSConfig()
		srv.ListenAndServeTLS(c.Cert, c.Key)
		return
	}
	srv.ListenAndServe()
}
