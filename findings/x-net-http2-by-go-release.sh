#!/usr/bin/env bash
# golang.org/x/net/http2 at one version is two packages, by the Go release that builds it: up to Go
# 1.26 it has an HTTP/2 client of its own, under 1.27 its Transport wraps that of net/http. A
# program whose go.mod doesn't change gets, with the next Go release,
#  - a build that fails (v0.54.0: GoAwayError, which it has documented for years, is undefined), or
#  - another error for the same answer (v0.58.0): for a connection that the server has closed after a
#    GOAWAY, errors.As finds a GoAwayError under 1.26, and not under 1.27.
# What is made of frames, http2.Framer and hpack, is the same under each.
#
# Needs go (it fetches the other releases) and the network.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

cat >main.go <<'GO'
package main

import (
	"crypto/tls"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"golang.org/x/net/http2"
)

// serve takes one request, promises by GOAWAY to answer it, and closes.
func serve(ln net.Listener) {
	c, err := ln.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
	f := http2.NewFramer(c, c)
	f.WriteSettings()
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		if h, ok := frame.(*http2.HeadersFrame); ok {
			f.WriteGoAway(h.StreamID, http2.ErrCodeNo, nil)
			return
		}
	}
}

func main() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go serve(ln)
	t := &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	req, _ := http.NewRequest("POST", "http://"+ln.Addr().String()+"/", nil)
	_, err = t.RoundTrip(req)
	var away http2.GoAwayError
	fmt.Println("GoAwayError:", errors.As(err, &away))
}
GO

# try RELEASE VERSION prints what becomes of the program.
try() {
	printf 'module finding\n\ngo 1.25.0\n' >go.mod
	rm -f go.sum
	export GOTOOLCHAIN=go$1 GOFLAGS=-mod=mod
	go get "golang.org/x/net@$2" >/dev/null 2>&1
	if out=$(go build -o program . 2>&1); then ./program; else grep -o 'undefined: .*' <<<"$out" | head -n 1; fi
}

code=0
check() {
	local saw
	saw=$(try "$1" "$2")
	echo "Go $1, x/net $2: $saw"
	if [[ $saw != "$3" ]]; then
		echo "  it was: $3"
		code=1
	fi
}
check 1.26.8 v0.54.0 "GoAwayError: true"
check 1.27.4 v0.54.0 "undefined: http2.GoAwayError"
check 1.26.8 v0.58.0 "GoAwayError: true"
check 1.27.4 v0.58.0 "GoAwayError: false"
exit $code
