package handoff

import (
	"net/http"
	"sync/atomic"
)

// streams counts the open requests on an HTTP/2 connection whose client can't be sent a
// GOAWAY that refuses nothing. The other GOAWAY loses what is on its way to the server.
// A client that waits for one answer before its next request has nothing on its way
// then. One that doesn't is told with an answer to its only request, or late.
type streams struct{ open atomic.Int32 }

func (s *streams) enter() { s.open.Add(1) }
func (s *streams) leave() { s.open.Add(-1) }

// busy tells whether there are other requests than the one that asks.
func (s *streams) busy() bool { return s.open.Load() > 1 }

// streamsKey is the context's key of the streams of a connection that isn't ours.
type streamsKey struct{}

func streamsOf(r *http.Request) *streams {
	if c, ok := r.Context().Value(servedKey{}).(*servedConn); ok {
		return &c.streams
	}
	if s, ok := r.Context().Value(streamsKey{}).(*streams); ok {
		return s
	}
	return &streams{} // of a connection that isn't known
}
