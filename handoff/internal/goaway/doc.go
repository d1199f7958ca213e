// Package goaway ends the HTTP/2 connections of an http.Server one by one, and loses no
// request by it.
//
// RFC 9113, 6.8 has a server send two GOAWAY frames. The first one names the highest
// number that a stream can have: it refuses nothing, and asks the client to open no
// more streams here. The second one comes at least a round trip later and says which
// stream was the last. net/http sends only the second, and ignores the requests that
// are on their way to it then; a client can't send them again unless it has kept their
// bodies.
//
// A [Conn] lies between net/http and a connection. It follows the frames in both
// directions. The first GOAWAY is put between two frames of net/http's. For the
// second, net/http reads a GOAWAY as if the client had sent it, and answers with its
// own. So all else stays net/http's: which requests were the last, and when the
// connection is closed.
//
// # What is assumed of net/http
//
// Documented: [http.Server.Serve] takes any net.Conn; from Go 1.27 on it serves HTTP/2 on
// one that has a ConnectionState method (see [http.Serve]); Server.TLSNextProto takes over
// connections by the protocol that was negotiated; RegisterOnShutdown.
//
// Not documented, and so tried out on the Go in use when a server starts (check.go):
//   - Up to Go 1.26, Server.TLSNextProto["unencrypted_http2"] serves HTTP/2 on a net.Conn
//     that is hidden in a *tls.Conn. golang.org/x/net/http2 relies on it.
//   - A server that gets a GOAWAY from the client answers with its own.
//
// Where the first doesn't hold, the connections are net/http's alone; [Conn.Tells]
// says so, and an answer with "Connection: close" has net/http send its GOAWAY. Where
// the second doesn't hold, that answer has to wait for the first GOAWAY to be heard,
// see [Conn.Overdue]. In either case there is [http.Server.Shutdown] in the end.
package goaway
