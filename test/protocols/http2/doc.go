// Package http2 tests upgrades of servers that speak HTTP/2 in all the ways in which
// net/http does, and golang.org/x/net under it.
package http2
