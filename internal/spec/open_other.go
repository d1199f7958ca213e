//go:build !unix

package spec

import (
	"context"
	"syscall"

	"github.com/handoff-dev/handoff/handoff"
)

func open(ctx context.Context, s Spec) (*Socket, error) {
	switch {
	case s.Unix(), s.Type == "vsock", s.Type == "fd":
		return nil, unsupported("the type "+s.Type, "there is TCP and UDP here")
	case s.Options != Options{V6Only: s.Options.V6Only}:
		return nil, unsupported("an option", "v6only is the only one here")
	}
	inner, addr, err := listen(ctx, s)
	if err != nil {
		return nil, err
	}
	return &Socket{File: handoff.File{Conn: inner.(syscall.Conn)}, Addr: addr}, nil
}

func control(Options) func(network, address string, raw syscall.RawConn) error { return nil }
