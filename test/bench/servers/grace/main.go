// The server of the comparison on github.com/facebookgo/grace.
package main

import (
	"net/http"

	"github.com/facebookgo/grace/gracehttp"
	"github.com/handoff-dev/handoff/test/bench/app"
)

func main() {
	c := app.Parse()
	handler, config := app.Handler(), c.TLSConfig()
	var servers []*http.Server
	for _, addr := range c.Addrs() {
		servers = append(servers, &http.Server{Addr: addr, Handler: handler, TLSConfig: config})
	}
	if err := gracehttp.Serve(servers...); err != nil {
		app.Fail(err)
	}
}
