//go:build linux && !go1.27

package httpclient

// Until Go 1.26 http2.Transport has a client of its own, which sends a request
// elsewhere of which nothing went out, whatever its body.
const xnetNeedsGetBody = false
