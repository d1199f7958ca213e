package load

import (
	"maps"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// http2Head is the header of a target's requests, but for their length.
type http2Head []hpack.HeaderField

func newHTTP2Head(t *Target) http2Head {
	scheme := "http"
	if t.TLS != nil {
		scheme = "https"
	}
	method, path := t.Method, t.Path
	header := http.Header{"User-Agent": {"handoff-load"}}
	maps.Copy(header, t.Header)
	switch {
	case t.Proto == GRPCHealth:
		method, path = http.MethodPost, healthPath
		header.Set("Content-Type", "application/grpc")
		header.Set("TE", "trailers")
	case t.hasBody():
		header.Set("Content-Type", "application/octet-stream")
	}
	h := http2Head{
		{Name: ":method", Value: method}, {Name: ":scheme", Value: scheme},
		{Name: ":authority", Value: t.host()}, {Name: ":path", Value: path},
	}
	for name, values := range header {
		name = strings.ToLower(name)
		if ofHTTP1(name) {
			continue
		}
		for _, value := range values {
			h = append(h, hpack.HeaderField{Name: name, Value: value})
		}
	}
	return h
}

// ofHTTP1 names the fields that no request over HTTP/2 has (RFC 9113, 8.2.2),
// and those that stand elsewhere in it.
func ofHTTP1(name string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "host", "content-length":
		return true
	}
	return false
}

// encode writes the fields. A length of 0 isn't named.
func (h http2Head) encode(e *hpack.Encoder, length int) error {
	for _, f := range h {
		if err := e.WriteField(f); err != nil {
			return err
		}
	}
	if length == 0 {
		return nil
	}
	return e.WriteField(hpack.HeaderField{Name: "content-length", Value: strconv.Itoa(length)})
}
