// Package datagrams tests, with real processes, how the generations of a service share
// a datagram socket.
package datagrams
