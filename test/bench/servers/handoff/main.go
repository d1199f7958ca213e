// The server of the comparison on handoff.
package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/test/bench/app"
)

func main() {
	c := app.Parse()
	up, err := handoff.New(handoff.Options{Probation: c.Probation})
	if err != nil {
		app.Fail(err)
	}
	srv := &http.Server{Handler: app.Handler(), TLSConfig: c.TLSConfig()}
	var services []handoff.Service
	for i, addr := range c.Addrs() {
		ln, err := up.Listen(fmt.Sprint("http", i), "tcp", addr)
		if err != nil {
			app.Fail(err)
		}
		if c.TLS {
			services = append(services, handoff.ServeTLS(srv, ln, "", ""))
		} else {
			services = append(services, handoff.Serve(srv, ln))
		}
	}
	noted := make(chan struct{})
	go func() {
		<-up.Draining()
		app.Commit()
		close(noted)
	}()
	if err := up.Run(context.Background(), services...); err != nil {
		app.Fail(err)
	}
	<-noted // with nothing to drain the process could end before
}
