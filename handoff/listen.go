package handoff

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"

	"github.com/handoff-dev/handoff/handoff/internal/address"
	"github.com/handoff-dev/handoff/internal/lowport"
)

// Listen returns the listener called name on network ("tcp", "tcp4", "tcp6",
// "unix", "unixpacket") and address: the inherited one of that name and type,
// else an inherited one of that type and address, else a new one.
//
// A name from outside (systemd's FileDescriptorName) decides, whatever address
// it is bound to; one that a former generation of this service opened has to be
// for the same network and address, so that a changed configuration takes effect.
// They are compared by what they mean: "[::]:80" is ":80", "tcp4" with ":80" is "tcp"
// with "0.0.0.0:80". Port 0 keeps its port as long as the name, the network and the
// address stay. A name need not be unique; each inherited listener is taken at most
// once.
//
// An IPv4 address is one of IPv4 alone: "0.0.0.0:80" is not open by IPv6, as it is with
// [net.Listen]. "tcp" with ":80" or "[::]:80" is both, "tcp6" is IPv6 alone. A bound socket can't
// change that, so where a new version wants a port by another version of IP, and the
// old one's socket is in the way, the error is EADDRINUSE, names that, and the service
// has to be stopped and started once. There are two exceptions, with a warning in the log: a socket from
// outside, and one that an older release of this package has opened for an IPv4 wildcard.
//
// A successor accepts nothing until it is ready. When a generation hands over,
// Accept returns an error that is [net.ErrClosed]. After Close the listener is
// not handed on. What Accept returns is a *net.TCPConn or *net.UnixConn.
//
// A new unix socket replaces the file of one that nobody listens on any more, and
// never one that is alive. The last generation removes the file, unless the
// socket was handed in from outside.
func (u *Upgrader) Listen(name, network, address string) (net.Listener, error) {
	if !slices.Contains([]string{"tcp", "tcp4", "tcp6", "unix", "unixpacket"}, network) {
		return nil, fmt.Errorf("handoff: listen %q: %w", name, net.UnknownNetworkError(network))
	}
	return u.listen(name, network, address, ofVersion(u.opts.ListenConfig.Listen))
}

func (u *Upgrader) listen(name, network, address string, bind binder[net.Listener]) (net.Listener, error) {
	ln, s, err := open(u, name, network, address, (*inherited).listener, bind)
	if err != nil {
		return nil, fmt.Errorf("handoff: listen %q: %w", name, err)
	}
	inner, ok := ln.(socketListener)
	if !ok {
		ln.Close()
		return nil, fmt.Errorf("handoff: listen %q: a %T can't be handed on", name, ln)
	}
	l := newListener(inner, gatePaused)
	l.name, l.up = name, u
	l.onClose = func() { u.forget(s) }
	s.Conn, s.gate, s.end, s.hall = inner, l.gate, l.end, l
	if err := u.register(s); err != nil {
		l.Close()
		return nil, fmt.Errorf("handoff: listen %q: %w", name, err)
	}
	return l, nil
}

// binder opens a socket that isn't inherited.
type binder[T any] func(ctx context.Context, network, address string) (T, error)

// ofVersion has bind take an IPv4 address for one of IPv4 alone.
func ofVersion[T any](bind binder[T]) binder[T] {
	return func(ctx context.Context, network, addr string) (T, error) {
		return bind(ctx, address.Network(network, addr), addr)
	}
}

// open takes an inherited socket that fits, or binds a new one; with a nil bind it
// returns ErrNotInherited.
func open[T io.Closer](u *Upgrader, name, network, addr string,
	take func(*inherited) (T, error), bind binder[T],
) (sock T, s *shared, err error) {
	var none T
	ctx := context.Background()
	if err := checkName(name); err != nil {
		return none, nil, err
	}
	s = &shared{File: File{Name: name}, slot: -1}
	s.origin.Network, s.origin.Address = network, addr
	want := request{name, network, addr, address.Requested(ctx, network, addr)}
	if in := u.claim(want); in != nil {
		if in.Index < len(u.origins) {
			known := u.origins[in.Index]
			s.origin.Ours, s.origin.Path, s.origin.Device, s.origin.Inode = known.Ours, known.Path, known.Device, known.Inode
			s.late, s.older = known.UntilCommit && u.generation > 1, u.takeOutlets(in.Index)
		}
		u.warnOfVersion(want, in)
		sock, err := take(in)
		if err != nil {
			in.close()
			return none, nil, fmt.Errorf("%v: %w", in, err)
		}
		if u.log.Enabled(ctx, slog.LevelDebug) { // the text costs, with a thousand sockets
			u.log.Debug("inherited", "socket", in.String())
		}
		return sock, s, nil
	}
	if bind == nil {
		return none, nil, ErrNotInherited
	}
	s.origin.Ours, s.alone = true, true
	if !strings.HasPrefix(network, "unix") {
		sock, err = bind(ctx, network, addr)
	} else {
		sock, err = bindUnix(ctx, s, network, addr, bind)
	}
	if err != nil {
		return none, nil, lowport.Explain(u.explain(err, want), network, addr)
	}
	return sock, s, nil
}
