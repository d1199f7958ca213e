package load

import "time"

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

// LateFirstByte opens a new connection for each request and sends nothing on
// it for a random time from 0 to limit.
func LateFirstByte(limit time.Duration) Shape {
	return Shape{Name: "late-first-byte", Close: true, Late: limit}
}
