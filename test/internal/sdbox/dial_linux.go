package sdbox

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// DialContext connects to an address in the box: an IP address and a port, or the path
// of a unix socket.
func (b *Box) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	var d net.Dialer
	if strings.HasPrefix(network, "unix") {
		return d.DialContext(ctx, network, b.Path(address))
	}
	// A socket belongs to the network in which the thread that makes it is; Dial makes
	// those for a literal address on its own.
	done := make(chan error)
	go func() {
		done <- b.inNetwork(func() error { conn, err = d.DialContext(ctx, network, address); return err })
	}()
	if err := <-done; err != nil {
		return nil, err
	}
	return conn, nil
}

// inNetwork calls f in the box's network. It ends the calling goroutine's thread when it
// can't be led back.
func (b *Box) inNetwork(f func() error) error {
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	theirs, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", b.pid))
	if err != nil {
		return err
	}
	defer theirs.Close()
	runtime.LockOSThread()
	if err := unix.Setns(int(theirs.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return os.NewSyscallError("setns", err)
	}
	err = f()
	if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
		runtime.UnlockOSThread()
	}
	return err
}
