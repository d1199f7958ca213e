package handoff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"syscall"
)

// Listen returns the listener called name on network ("tcp", "tcp4", "tcp6",
// "unix", "unixpacket") and address: the inherited one of that name and type,
// else an inherited one of that type and address, else a new one.
//
// A name from outside (systemd's FileDescriptorName) decides, whatever address
// it is bound to; one that a former generation of this service opened has to be
// for the same address, so that a changed configuration takes effect. Addresses
// are compared by what they mean: ":80", "0.0.0.0:80" and "[::]:80" are one.
// Port 0 keeps its port as long as the name and the address stay.
// A name need not be unique; each inherited listener is taken at most once.
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
	return u.listen(name, network, address, u.opts.ListenConfig.Listen)
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

// open takes an inherited socket that fits, or binds a new one; with a nil bind it
// returns ErrNotInherited.
func open[T io.Closer](u *Upgrader, name, network, address string,
	take func(*inherited) (T, error), bind binder[T],
) (sock T, s *shared, err error) {
	var none T
	ctx := context.Background()
	if err := checkName(name); err != nil {
		return none, nil, err
	}
	s = &shared{File: File{Name: name}, slot: -1}
	s.origin.Network, s.origin.Address = network, address
	if in := u.claim(name, network, requested(ctx, network, address), address); in != nil {
		if in.Index < len(u.origins) {
			known := u.origins[in.Index]
			s.origin.Ours, s.origin.Path, s.origin.Device, s.origin.Inode = known.Ours, known.Path, known.Device, known.Inode
			s.late, s.older = known.UntilCommit && u.generation > 1, u.takeOutlets(in.Index)
		}
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
		sock, err = bind(ctx, network, address)
	} else {
		sock, err = bindUnix(ctx, s, network, address, bind)
	}
	if err != nil {
		return none, nil, u.explain(err, network, address)
	}
	return sock, s, nil
}

// claim takes the inherited socket that Listen's documentation promises for a
// request, or returns nil.
func (u *Upgrader) claim(name, network string, want endpoint, address string) *inherited {
	originOf := func(index int) (o origin) {
		if index < len(u.origins) {
			o = u.origins[index]
		}
		return o
	}
	same := func(e Entry) bool { return want.specific() && bound(e.Addr) == want }
	always := func(Entry) bool { return true }
	for _, rule := range []struct {
		eligible func(index int, name string) bool
		match    func(Entry) bool
	}{
		{ // ours, asked for in the same words
			func(i int, n string) bool { return n == name && originOf(i).Ours },
			func(e Entry) bool { return originOf(e.Index).Address == address || same(e) },
		},
		{func(i int, n string) bool { return n == name && !originOf(i).Ours }, same},
		{func(i int, n string) bool { return n == name && !originOf(i).Ours && name != "" }, always},
		{func(i int, _ string) bool { return u.asked(originOf(i), network, address) }, always},
		{func(int, string) bool { return true }, same},
	} {
		in, ok := u.inherited.takeOf(rule.eligible, func(e Entry) bool {
			return kindFamily(e.Kind) == netFamily(network) && reachable(originOf(e.Index)) && rule.match(e)
		})
		if ok {
			return in
		}
	}
	return nil
}

func kindFamily(k Kind) string {
	switch k {
	case KindTCPListener:
		return "tcp"
	case KindUnixListener:
		return "unix"
	case KindSeqpacketListener:
		return "unixpacket"
	case KindUDP:
		return "udp"
	case KindUnixgram:
		return "unixgram"
	}
	return ""
}

// explain adds to a failed bind which inherited socket has the address and was
// not taken.
func (u *Upgrader) explain(err error, network, address string) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	want := requested(context.Background(), network, address)
	for e := range u.inherited.All() {
		have := bound(e.Addr)
		sameKind := have.family == want.family || want.path != "" // one path is for one socket of any type
		if sameKind && want.specific() && have.port == want.port && have.path == want.path {
			return fmt.Errorf("%w (this process inherited %v, which was not taken)", err, e)
		}
	}
	return err
}
