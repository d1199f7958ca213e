// Package foreign is how a package beside handoff lets another toolkit be the
// predecessor or the successor of a generation. handoff knows nothing of the other
// toolkit, and the functions that the adapter needs stay out of its exported surface.
package foreign

import (
	"context"
	"net"
	"os/exec"
	"time"
)

// Peer is the other toolkit. The zero value is none.
type Peer struct {
	// Predecessor is who has started this process, if the other toolkit has; else nil.
	Predecessor *Predecessor
	// GoBetween is asked about every successor before it starts, in a goroutine of its own.
	// If cmd is a program of the other toolkit's, it changes cmd into a go-between: a
	// process that is started in handoff's way, starts the program in the other's, and
	// tells by a link.KindStarted that it is ready; or by its end that it isn't. The
	// program is given timeout to be ready. nil means that there are no such programs.
	GoBetween func(cmd *exec.Cmd, timeout time.Duration) (changed bool, err error)
}

// Predecessor is a process of the other toolkit's that has started this one.
type Predecessor struct {
	Files []File
	// Ready tells it that this process serves, after which it hands over at once.
	Ready func() error
	// Ended is closed when its process has ended.
	Ended <-chan struct{}
}

// File is a descriptor that the predecessor has passed.
type File struct {
	FD   int // close-on-exec; its receiver's
	Name string
	// Network and Address are the words in which the predecessor has asked for it.
	Network, Address string
}

// Bind opens a socket that isn't inherited.
type Bind[T any] func(ctx context.Context, network, address string) (T, error)

// What handoff lets the adapter do. upgrader is a *handoff.Upgrader.
var (
	// New is handoff.New, with options being a handoff.Options.
	New func(options any, peer Peer) (upgrader any, err error)
	// Listen is Upgrader.Listen with a way to bind what isn't inherited. With a nil
	// bind there is none, and what isn't inherited is handoff.ErrNotInherited.
	Listen func(upgrader any, name, network, address string, bind Bind[net.Listener]) (net.Listener, error)
	// ListenPacket is Upgrader.ListenPacket likewise.
	ListenPacket func(upgrader any, name, network, address string, bind Bind[net.PacketConn]) (net.PacketConn, error)
	// Parent returns a channel that is closed when the process that has started this one, the
	// predecessor, has ended: at once if there was none.
	Parent func(upgrader any) <-chan struct{}
)
