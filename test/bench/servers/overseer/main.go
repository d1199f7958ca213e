// The server of the comparison on github.com/jpillora/overseer, in the manner of its
// README.
package main

import (
	"net/http"
	"sync"
	"time"

	"github.com/handoff-dev/handoff/test/bench/app"
	"github.com/jpillora/overseer"
)

func main() {
	c := app.Parse()
	overseer.Run(overseer.Config{
		Program:   func(state overseer.State) { serve(state, c) },
		Addresses: c.Addrs(),
		// Its default is 30 s, after which it closes what is left. That happens within
		// the time of a measurement so.
		TerminateTimeout: 2 * time.Second,
	})
}

func serve(state overseer.State, c app.Config) {
	srv := &http.Server{Handler: app.Handler(), TLSConfig: c.TLSConfig()}
	var all sync.WaitGroup
	for _, ln := range state.Listeners {
		all.Go(func() {
			if c.TLS {
				srv.ServeTLS(ln, "", "")
				return
			}
			srv.Serve(ln)
		})
	}
	all.Wait()
}
