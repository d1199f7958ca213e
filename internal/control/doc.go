// Package control serves the control socket of a service: HTTP and JSON on a unix
// socket, for those who may control the service and nobody else. What is answered,
// the schema, is package handoff's; this package is about the socket, its peers and
// its streams.
package control
