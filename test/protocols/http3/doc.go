// Package http3 tests that HTTP/3 goes through upgrades, with quic-go as the server
// and as the client.
package http3
