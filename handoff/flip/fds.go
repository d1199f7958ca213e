package flip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/handoff/internal/foreign"
)

// Listener can be shared between processes.
type Listener interface {
	net.Listener
	syscall.Conn
}

// PacketConn can be shared between processes.
type PacketConn interface {
	net.PacketConn
	syscall.Conn
}

// Conn can be shared between processes.
type Conn interface {
	net.Conn
	syscall.Conn
}

// Fds holds the descriptors that the predecessor has passed, and those that are to be
// passed on. An [Upgrader] has it.
type Fds struct {
	up *handoff.Upgrader

	mu   sync.Mutex
	kept map[string]*os.File // duplicates of what was added, by name; nil when released
}

func newFds(up *handoff.Upgrader) *Fds {
	return &Fds{up: up, kept: make(map[string]*os.File)}
}

// Listen returns the inherited listener for network and addr, or a new one; see
// [handoff.Upgrader.Listen].
func (f *Fds) Listen(network, addr string) (net.Listener, error) {
	ln, err := f.up.Listen(joinName(kindListener, network, addr), network, addr)
	return wrap(ln, err)
}

// ListenWithCallback is Listen, with callback to create a new one. What that returns
// must have the methods SyscallConn and SetDeadline, as those of the net package do.
func (f *Fds) ListenWithCallback(network, addr string, callback func(network, addr string) (net.Listener, error)) (net.Listener, error) {
	ln, err := foreign.Listen(f.up, joinName(kindListener, network, addr), network, addr,
		func(_ context.Context, network, addr string) (net.Listener, error) { return callback(network, addr) })
	return wrap(ln, err)
}

// Listener returns the inherited listener for network and addr, or nil.
func (f *Fds) Listener(network, addr string) (net.Listener, error) {
	ln, err := foreign.Listen(f.up, joinName(kindListener, network, addr), network, addr, nil)
	if errors.Is(err, handoff.ErrNotInherited) {
		return nil, nil
	}
	return wrap(ln, err)
}

// AddListener passes a duplicate of ln on. ln may be closed then. One that was added
// before with the same network and addr is passed on no more.
func (f *Fds) AddListener(network, addr string, ln Listener) error {
	if u, ok := ln.(interface{ SetUnlinkOnClose(bool) }); ok {
		u.SetUnlinkOnClose(false)
	}
	return f.keep(joinName(kindListener, network, addr), ln)
}

// ListenPacket returns the inherited packet conn for network and addr, or a new one;
// see [handoff.Upgrader.ListenPacket].
func (f *Fds) ListenPacket(network, addr string) (net.PacketConn, error) {
	return f.up.ListenPacket(joinName(kindPacket, network, addr), network, addr)
}

// ListenPacketWithCallback is ListenPacket, with callback to create a new one, which
// has to be a *net.UDPConn or a *net.UnixConn.
func (f *Fds) ListenPacketWithCallback(network, addr string, callback func(network, addr string) (net.PacketConn, error)) (net.PacketConn, error) {
	return foreign.ListenPacket(f.up, joinName(kindPacket, network, addr), network, addr,
		func(_ context.Context, network, addr string) (net.PacketConn, error) {
			conn, err := callback(network, addr)
			if err != nil {
				return nil, err
			}
			switch conn.(type) {
			case *net.UDPConn, *net.UnixConn:
				return conn, nil
			}
			conn.Close()
			return nil, fmt.Errorf("flip: a %T can't be passed on: a *net.UDPConn or *net.UnixConn can", conn)
		})
}

// PacketConn returns the inherited packet conn for network and addr, or nil.
func (f *Fds) PacketConn(network, addr string) (net.PacketConn, error) {
	conn, err := foreign.ListenPacket(f.up, joinName(kindPacket, network, addr), network, addr, nil)
	if errors.Is(err, handoff.ErrNotInherited) {
		return nil, nil
	}
	return conn, err
}

// AddPacketConn is [Fds.AddListener] for a packet conn.
func (f *Fds) AddPacketConn(network, addr string, conn PacketConn) error {
	return f.keep(joinName(kindPacket, network, addr), conn)
}

// Conn returns the inherited connection that was added as network and addr, or nil.
// It is passed on further, and may be closed.
func (f *Fds) Conn(network, addr string) (net.Conn, error) {
	name := ConnName(network, addr)
	conn, err := f.up.Inherited().Conn(handoff.ByName(name))
	if notThere(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := f.keep(name, conn.(Conn)); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// AddConn passes a duplicate of conn on. conn may be closed then.
func (f *Fds) AddConn(network, addr string, conn Conn) error {
	return f.keep(ConnName(network, addr), conn)
}

// File returns the inherited file that was added as name, or nil. It is passed on
// further, and may be closed.
func (f *Fds) File(name string) (*os.File, error) {
	file, err := f.up.Inherited().File(handoff.ByName(FileName(name)))
	if notThere(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := f.keep(FileName(name), file); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// Files returns all inherited files that nobody has asked for yet.
func (f *Fds) Files() ([]*os.File, error) {
	var files []*os.File
	for e := range f.up.Inherited().All() {
		if _, _, _, ok := splitName(e.Name); ok {
			continue
		}
		if f.up.Generation() == 1 && e.Addr != nil {
			continue // a service manager's socket, which Listen finds
		}
		file, err := f.up.Inherited().File(handoff.ByIndex(e.Index))
		if notThere(err) {
			continue // somebody else was faster
		}
		if err == nil {
			files = append(files, file)
			err = f.keep(e.Name, file)
		}
		if err != nil {
			for _, file := range files {
				file.Close()
			}
			return nil, err
		}
	}
	return files, nil
}

// AddFile passes a duplicate of file on under name. file may be closed then.
func (f *Fds) AddFile(name string, file *os.File) error { return f.keep(FileName(name), file) }

// notThere tells the errors for which tableflip returns nil and no error.
func notThere(err error) bool {
	wrong := (*handoff.KindError)(nil)
	return errors.Is(err, handoff.ErrNotInherited) || errors.Is(err, handoff.ErrTaken) || errors.As(err, &wrong)
}

// keep passes a duplicate of conn on, in place of what had the name before.
func (f *Fds) keep(name string, conn syscall.Conn) error {
	fd, err := dup(conn)
	if err != nil {
		return fmt.Errorf("flip: passing on %q: %w", name, err)
	}
	file := os.NewFile(uintptr(fd), name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kept == nil {
		file.Close()
		return handoff.ErrHandedOver
	}
	if err := f.up.Keep(handoff.File{Name: name, Conn: file}); err != nil {
		file.Close()
		return err
	}
	if old := f.kept[name]; old != nil {
		f.up.Forget(old)
		old.Close()
	}
	f.kept[name] = file
	return nil
}

// release closes the duplicates, which the successor has by now.
func (f *Fds) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, file := range f.kept {
		file.Close()
	}
	f.kept = nil
}
