package handoff

import (
	"errors"
	"fmt"
	"net"
	"net/http"
)

// ending is the end of a service.
type ending struct {
	of  Service
	err error
}

func serviceFault(err error) error { return fmt.Errorf("handoff: a service has failed: %w", err) }

// noteToldEnd notes that the readers of one of our sockets were told to end.
func (u *Upgrader) noteToldEnd() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended != nil {
		u.toldEnds++
	}
}

// drainEnds judges how services have ended while this generation drained. An end that
// we have caused is no failure: what wraps a listener of ours may make any error of the
// one by which Accept says that it is closed.
//
// A service that was given a Drain ends by that, or with its listener. One that is a
// mere loop doesn't tell what it reads from, so its error is set against the sockets
// that have told somebody to end, less those of the other services.
type drainEnds struct {
	up   *Upgrader
	used int     // sockets whose ends are the ends of services
	odd  []error // of services without a Drain
}

func (d *drainEnds) add(e ending) {
	normal := e.err == nil || errors.Is(e.err, net.ErrClosed) || errors.Is(e.err, http.ErrServerClosed)
	switch {
	case !normal && e.of.Drain == nil:
		d.odd = append(d.odd, e.err)
		return
	case !normal:
		d.up.log.Info("a service has ended with the drain", "error", e.err)
	}
	if e.of.accepts || e.err != nil {
		d.used++
	}
}

// fault returns the error for those that have failed, when all have ended.
func (d *drainEnds) fault() (fault error) {
	d.up.mu.Lock()
	told := d.up.toldEnds
	d.up.mu.Unlock()
	if len(d.odd) <= told-d.used {
		for _, err := range d.odd {
			d.up.log.Info("a service has ended with its socket", "error", err)
		}
		return nil
	}
	for _, err := range d.odd {
		fault = errors.Join(fault, serviceFault(err))
	}
	return fault
}
