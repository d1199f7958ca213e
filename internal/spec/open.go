package spec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/lowport"
)

// Unnamed is the name of a socket whose specification has none. It is what a reader
// of LISTEN_FDS takes a socket to be called where LISTEN_FDNAMES is not set, and
// systemfd never sets that.
const Unnamed = "unknown"

// ErrUnsupported is wrapped by the error for a socket, or an option, that this system
// doesn't have.
var ErrUnsupported = errors.ErrUnsupported

// A Socket is open. Its File can be given to [handoff.Export]; on Unix it is a
// close-on-exec *os.File in blocking mode, which is how systemd passes sockets, on
// Windows what package net returns.
type Socket struct {
	handoff.File
	Spec Spec
	// Addr is where an IP or a unix socket is bound, with the port that the system chose
	// for port 0. Others have nil.
	Addr net.Addr

	file os.FileInfo // of the path that was made for it; nil: none
}

// String is made for people: "http://127.0.0.1:3000/ (http)".
func (s *Socket) String() string {
	where := s.Spec.Value
	if s.Addr != nil {
		where = s.Addr.String()
	}
	switch {
	case s.Spec.Type == "fd":
		where = "descriptor " + where
	case !s.Spec.Unix() && (s.Spec.Type == "http" || s.Spec.Type == "https"):
		where = s.Spec.Type + "://" + where + "/"
	default:
		where = s.Spec.Type + " " + where
	}
	if s.Name != Unnamed {
		where += " (" + s.Name + ")"
	}
	return where
}

// Close closes the socket. The file of a unix socket stays, for it may be somebody
// else's by now who has the socket too.
func (s *Socket) Close() error {
	s.file = nil
	return s.Conn.(io.Closer).Close()
}

// Discard removes the file that was made for the socket, if it is still that file, and
// closes the socket. After Close it removes nothing.
func (s *Socket) Discard() error {
	// While the socket is open its file's number is not given to another.
	var err error
	if s.file != nil {
		path := s.Addr.String()
		if now, lerr := os.Lstat(path); lerr == nil && os.SameFile(now, s.file) {
			err = os.Remove(path)
		}
	}
	return errors.Join(err, s.Close())
}

// Open opens the sockets of specs, in their order, each ready to be accepted from. The
// caller closes them.
//
// A unix socket replaces the file of one that nobody listens on any more, and never one
// that is alive or no socket; a symbolic link in its place is not followed. Its mode,
// owner and group are set before a connection can come in.
//
// Of "fd::N" a duplicate is opened. Descriptor N stays open and becomes close-on-exec;
// it must have been passed to this process, so not be close-on-exec already.
//
// An error names the specification, and wraps the system's, or [ErrUnsupported]. Then
// nothing is left open and no file is left behind.
func Open(ctx context.Context, specs []Spec) (sockets []*Socket, err error) {
	defer func() {
		if err == nil {
			return
		}
		for _, s := range sockets {
			err = errors.Join(err, s.Discard())
		}
		sockets = nil
	}()
	for _, spec := range specs {
		s, oerr := open(ctx, spec)
		if oerr != nil {
			return sockets, fmt.Errorf("open socket %s: %w", spec, oerr)
		}
		s.Spec, s.Name = spec, spec.Name
		if s.Name == "" {
			s.Name = Unnamed
		}
		sockets = append(sockets, s)
	}
	return sockets, nil
}

// Files are the sockets as [handoff.Export] takes them.
func Files(sockets []*Socket) []handoff.File {
	files := make([]handoff.File, len(sockets))
	for i, s := range sockets {
		files[i] = s.File
	}
	return files
}

// listen opens an IP socket by package net, which knows how: SO_REUSEADDR, both
// families, hosts' names.
func listen(ctx context.Context, s Spec) (io.Closer, net.Addr, error) {
	config := net.ListenConfig{Control: control(s.Options)}
	// systemd and systemfd make plain ones, and not every program knows the other.
	config.SetMultipathTCP(false)
	network := s.Network()
	switch {
	case s.Options.V6Only:
		network += "6"
	case s.IPv4():
		network += "4" // package net takes 0.0.0.0 for all addresses, those of IPv6 included
	}
	if s.Datagram() {
		c, err := config.ListenPacket(ctx, network, s.Value)
		if err != nil {
			return nil, nil, lowport.Explain(cause(err), network, s.Value)
		}
		return c, c.LocalAddr(), nil
	}
	ln, err := config.Listen(ctx, network, s.Value)
	if err != nil {
		return nil, nil, lowport.Explain(cause(err), network, s.Value)
	}
	return ln, ln.Addr(), nil
}

// cause leaves out what package net says of the address, which the specification
// has.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// unsupported is the error for an option or a type.
func unsupported(what, where string) error {
	return fmt.Errorf("%s: %w: %s", what, ErrUnsupported, where)
}
