package load

import (
	"errors"
	"time"
)

// Shape says how a worker behaves. The zero value is [KeepAlive]: request
// after request on one connection. The fields can be combined.
type Shape struct {
	// Name stands in results. Empty: none.
	Name string
	// Close opens a connection for each request and, over HTTP/1.1, says
	// "Connection: close".
	Close bool
	// Think is the longest pause between an answer and the next request; each
	// pause is random, from 0 to Think. Zero: none.
	Think time.Duration
	// Late is the longest pause between a connection's start and its first
	// byte, the TLS handshake included; each is random, from 0 to Late. Zero:
	// none.
	Late time.Duration
	// Pause is the pause between the two halves of each request's body. Zero:
	// the body goes out in one piece with its header.
	Pause time.Duration
	// HeadPause is a pause within each request's header. Zero: none. HTTP/1.1
	// only.
	HeadPause time.Duration
}

// NewConn opens a new connection for each request.
func NewConn() Shape { return Shape{Name: "new-conn", Close: true} }

// KeepAlive sends request after request on one connection.
func KeepAlive() Shape { return Shape{Name: "keep-alive"} }

// Think keeps its connection and thinks for a random time from 0 to limit
// before each request, so that its connection is mostly idle.
func Think(limit time.Duration) Shape { return Shape{Name: "think", Think: limit} }

// SlowPost keeps its connection and sends each body in two halves, with a
// pause between them.
func SlowPost(pause time.Duration) Shape { return Shape{Name: "slow-post", Pause: pause} }

// SlowHeader keeps its connection and sends each header in two pieces, with a
// pause between them: what a slow or lossy line makes of any request. A server
// that takes a connection for idle until it has read a whole header, and
// closes it, is found out by this one.
func SlowHeader(pause time.Duration) Shape { return Shape{Name: "slow-header", HeadPause: pause} }

// LateFirstByte opens a new connection for each request and sends nothing on
// it for a random time from 0 to limit.
func LateFirstByte(limit time.Duration) Shape {
	return Shape{Name: "late-first-byte", Close: true, Late: limit}
}

// fits says what of s can't be had of t.
func (s Shape) fits(t *Target) error {
	switch {
	case s.HeadPause > 0 && t.Proto != HTTP1:
		return errors.New("load: Shape.HeadPause is for HTTP/1.1: other protocols send a header in one piece")
	case s.Pause > 0 && (t.Proto == WebSocket || t.Proto == GRPCHealth || !t.hasBody()):
		return errors.New("load: Shape.Pause needs requests with a body of HTTP")
	}
	return nil
}

// pauses are those that a request has by its shape.
func (s Shape) pauses() time.Duration { return s.Pause + s.HeadPause }
