#!/usr/bin/env bash
# A wrapper of net/http's HTTP/2 takes the function that http.Server.TLSNextProto["h2"] has when the
# server is set up, and calls it with the connection. Up to Go 1.26 that serves HTTP/2. In Go 1.27
# the same function is there, of the same type, and closes the connection: HTTP/2 is served by
# net/http itself, and the entry only says so. It compiles, and each request fails at the client.
#
# Seen: with go1.25.0 and go1.26.8 the call goes on for as long as the connection ("serves"); with
# go1.27.4 it has "returned at once", and the connection is closed.
#
# Needs go (it fetches the other releases) and the network.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

cat >go.mod <<'MOD'
module finding

go 1.25.0
MOD
cat >main.go <<'GO'
package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"
)

type none struct{}

func (none) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (none) Close() error              { return nil }
func (none) Addr() net.Addr            { return &net.TCPAddr{} }

func main() {
	srv := &http.Server{}
	srv.Serve(none{}) // sets HTTP/2 up
	serve := srv.TLSNextProto["h2"]
	a, b := net.Pipe()
	returned := make(chan struct{})
	go func() { serve(srv, tls.Server(a, &tls.Config{}), srv.Handler); close(returned) }()
	go func() { // the TLS handshake that whoever serves begins is answered by nothing
		buf := make([]byte, 100)
		for {
			if _, err := b.Read(buf); err != nil {
				return
			}
		}
	}()
	select {
	case <-returned:
		fmt.Println("returned at once")
	case <-time.After(500 * time.Millisecond):
		fmt.Println("serves")
	}
}
GO
for expected in "1.25.0 serves" "1.26.8 serves" "1.27.4 returned at once"; do
	version=${expected%% *}
	seen=$(GOFLAGS=-mod=mod GOTOOLCHAIN=go$version go run .)
	echo "go$version: $seen"
	[ "$seen" = "${expected#* }" ] || { echo "changed: expected ${expected#* }"; exit 1; }
done
