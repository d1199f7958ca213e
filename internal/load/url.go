package load

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// ParseURL makes a [Target] of a URL: http, https (HTTP/1.1), h2 and h2c
// (HTTP/2), ws and wss (WebSocket), grpc and grpcs (GRPCHealth; the path is
// the service, if any), and "unix:/path/of/socket", after which ":/path" can
// be that of the requests. A path that isn't named is "/".
func ParseURL(raw string) (Target, error) {
	if rest, ok := strings.CutPrefix(raw, "unix:"); ok {
		return parseUnix(raw, strings.TrimPrefix(rest, "//"))
	}
	u, err := url.Parse(raw)
	if err != nil {
		return Target{}, fmt.Errorf("load: %w", err)
	}
	known, ok := schemes[u.Scheme]
	switch {
	case !ok:
		return Target{}, fmt.Errorf("load: URL %q: want one that begins with http://, https://, h2://, h2c://, ws://, wss://, grpc://, grpcs:// or unix:", raw)
	case u.Hostname() == "":
		return Target{}, fmt.Errorf("load: URL %q names no host", raw)
	case u.User != nil:
		return Target{}, errors.New("load: a URL with a user isn't supported: send an Authorization header")
	}
	t := Target{Network: "tcp", Proto: known.proto, Host: u.Host, Path: u.RequestURI()}
	port := u.Port()
	if port == "" {
		port = "80"
		if known.secure {
			port = "443"
		}
	}
	t.Addr = net.JoinHostPort(u.Hostname(), port)
	if known.secure {
		t.TLS = &tls.Config{ServerName: u.Hostname()}
	}
	if t.Proto == GRPCHealth {
		t.Path = strings.Trim(u.Path, "/")
	}
	return t, nil
}

var schemes = map[string]struct {
	proto  string
	secure bool
}{
	"http": {HTTP1, false}, "https": {HTTP1, true},
	"h2c": {H2C, false}, "h2": {HTTP2, true},
	"ws": {WebSocket, false}, "wss": {WebSocket, true},
	"grpc": {GRPCHealth, false}, "grpcs": {GRPCHealth, true},
}

func parseUnix(raw, rest string) (Target, error) {
	socket, path, ok := strings.Cut(rest, ":")
	if !ok {
		path = "/"
	}
	if socket == "" || !strings.HasPrefix(path, "/") {
		return Target{}, fmt.Errorf("load: URL %q: want unix:/path/of/socket or unix:/path/of/socket:/path/of/requests", raw)
	}
	return Target{Network: "unix", Addr: socket, Proto: HTTP1, Host: "localhost", Path: path}, nil
}
