package handoff

import (
	"io"
	"net"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

// emigrant is an idle connection on its way to the successor. Who has it is the only
// one that closes its socket.
type emigrant struct {
	conn socket
	from *listener
	wait wait
	gone func() // it is not this process's any more
	// reader is not nil if net/http still waits for a read of it, which brings nothing
	// any more.
	reader *idleness

	luggage   *luggage // of one that Move sends
	abandoned bool     // nobody waits for it any more; guarded by the mover
}

// wait is what a connection does that is idle: since when, and whether for its first
// request.
type wait struct {
	since time.Time
	fresh bool
}

// age is the wait so far, for another process.
func (w wait) age() link.Age {
	if w.since.IsZero() {
		return link.Age{}
	}
	return link.Age{New: w.fresh, Elapsed: time.Since(w.since)}
}

// waitOf is the other process's side of age.
func waitOf(a link.Age) wait { return wait{since: time.Now().Add(-a.Elapsed), fresh: a.New} }

// spoken is the wait of one whose next request has begun: until now it was idle, or its
// time limits have begun when it was accepted.
func (w wait) spoken() wait {
	if !w.fresh {
		w.since = time.Now()
	}
	return wait{since: w.since, fresh: true}
}

// socket is what can be sent.
type socket interface {
	syscall.Conn
	io.Closer
}

// descriptor is the socket's, good as long as it is open.
func (e *emigrant) descriptor() (fd int, err error) {
	raw, err := e.conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	err = raw.Control(func(own uintptr) { fd = int(own) })
	return fd, err
}

// reclaim returns the connection for this process to go on with.
func (e *emigrant) reclaim() (net.Conn, error) {
	conn, ok := e.conn.(net.Conn)
	if !ok {
		return e.conn.(*guestSocket).open()
	}
	if e.reader != nil {
		if err := conn.SetReadDeadline(aLongTimeAgo); err != nil {
			return nil, err
		}
		<-e.reader.ended()
	}
	return conn, conn.SetDeadline(time.Time{})
}

// giveBack serves a connection here that could not leave.
func (e *emigrant) giveBack() {
	if conn, err := e.reclaim(); err == nil {
		e.from.drain.serveLate(conn, nil, e.wait.spoken())
	} else {
		e.conn.Close()
	}
	e.gone()
}
