//go:build linux && go1.27

package httpclient

// From Go 1.27 on http2.Transport is net/http's client, and needs what that needs.
const xnetNeedsGetBody = true
