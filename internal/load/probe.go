package load

import (
	"context"
	"time"
)

// Probe sends one request, without the shape's pauses, and returns the failure
// that it met with, or nil. A request that an HTTP/2 server refuses in a way
// that makes it safe to send it again is one here.
func Probe(ctx context.Context, cfg Config) (*Failure, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	cfg.ids = new(identities)
	name := cfg.Shape.Name
	cfg.Shape = Shape{Close: cfg.Shape.Close}
	w := worker{r: &Runner{cfg: cfg, id: newRunID()}}
	w.number()
	cl := newClient(&cfg, new(tally))
	defer cl.close()
	began := time.Now()
	a := cl.do(ctx, w.body)
	if a.kind == OK {
		return nil, nil
	}
	return &Failure{
		Time: time.Now(), Began: began, Kind: a.kind, Stage: a.stage, Shape: name, PID: a.pid, Error: clipped(a.err.Error()),
	}, nil
}
