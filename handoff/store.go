package handoff

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"
)

// The service manager's fd store (systemd.service(5), FileDescriptorStoreMax=)
// keeps descriptors while no process of the service lives. So a crash costs no
// connection: clients wait in the listener's queue until the service has been
// started anew and got the listener back by LISTEN_FDS.

// storeIndex is the name of a memfd in the store that holds what LISTEN_FDNAMES
// can't: where each descriptor comes from.
const storeIndex = "handoff-index"

// maxIndex bounds what is read of it.
const maxIndex = 1 << 20

// indexEntry tells of the descriptor with this inode.
type indexEntry struct {
	Inode uint64 `json:"descriptor"`
	origin
}

// Store is [Upgrader.Keep], and has the service manager keep file too, under its
// name, in case this process crashes: the process that is started then finds it in
// [Upgrader.Inherited]. State that is to outlive a crash goes into a memfd.
//
// It is dropped from there when it ends: a connection that its peer has closed the
// manager drops by itself; what this program closes, within a second of that, until
// which the peer sees the connection open. [Upgrader.Forget] before the close is
// quicker. What the program closes when it stops stays, for the next start.
//
// What the Upgrader itself has opened by Listen and ListenPacket is stored
// without being asked. Nothing is stored where the manager has no store: the
// unit needs FileDescriptorStoreMax=.
func (u *Upgrader) Store(file File) error {
	if err := checkName(file.Name); err != nil {
		return fmt.Errorf("handoff: store: %w", err)
	}
	if file.Conn == nil || file.Name == storeIndex {
		return fmt.Errorf("handoff: store %q: it has no Conn, or a name that is taken", file.Name)
	}
	if err := u.register(&shared{File: file, store: true}); err != nil {
		return err
	}
	u.watchStored.Do(func() { go u.watchClosed() })
	return nil
}

// closedCheck is how often watchClosed looks.
const closedCheck = time.Second

// watchClosed takes out of the store what the program has closed. For as long as the
// manager has a connection open its peer doesn't learn of the end, and nothing tells
// us of a Close.
func (u *Upgrader) watchClosed() {
	tick := time.NewTicker(closedCheck)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			u.dropClosed()
		case <-u.done:
			return
		}
	}
}

func (u *Upgrader) dropClosed() {
	u.mu.Lock()
	before := len(u.shared)
	u.shared = slices.DeleteFunc(u.shared, func(s *shared) bool { return s.store && isClosed(s.Conn) })
	ended := u.main && len(u.shared) < before
	u.mu.Unlock()
	if ended {
		u.post(occurrence{run: u.syncStore})
	}
}

func isClosed(c syscall.Conn) bool {
	raw, err := c.SyscallConn()
	return err == nil && raw.Control(func(uintptr) {}) != nil
}

// syncStore brings the manager's store up to date; in the loop.
func (u *Upgrader) syncStore() {
	u.mu.Lock()
	main, now := u.main, slices.Clone(u.shared)
	u.mu.Unlock()
	if !main || u.manager.notifier == nil {
		return
	}
	now = slices.DeleteFunc(now, func(s *shared) bool { return !s.store && !(s.gate != nil && s.origin.Ours) })
	changed := false
	var still []*shared
	for _, s := range u.manager.stored {
		if slices.Contains(now, s) {
			still = append(still, s)
			continue
		}
		// This drops all of that name; the others are stored again.
		changed = true
		u.unstore(s.Name)
		still = slices.DeleteFunc(still, func(o *shared) bool { return o.Name == s.Name })
	}
	for _, name := range u.family.dropped {
		u.unstore(name)
	}
	u.family.dropped = nil
	for i, o := range u.origins {
		if o.Stored { // by the predecessor; what this program wants is stored anew
			u.unstore(o.Name)
			u.origins[i].Stored = false
		}
	}
	for _, s := range now {
		if slices.Contains(still, s) {
			continue
		}
		changed = true
		if err := u.manager.notifier.NotifyFiles([]syscall.Conn{s.Conn}, FDStore, FDName(s.Name)); err != nil {
			u.log.Warn("storing a descriptor with the service manager", "name", s.Name, "error", err)
		}
	}
	u.manager.stored = now
	if changed {
		u.storeIndex(now)
	}
}

func (u *Upgrader) unstore(name string) {
	u.tellManager(FDStoreRemove, FDName(name))
}

// storeIndex replaces the index in the store.
func (u *Upgrader) storeIndex(stored []*shared) {
	index := make([]indexEntry, 0, len(stored))
	for _, s := range stored {
		if inode, ok := connInode(s.Conn); ok {
			index = append(index, indexEntry{Inode: inode, origin: s.told()})
		}
	}
	u.unstore(storeIndex)
	text, err := json.Marshal(index)
	if err == nil {
		var f *os.File
		if f, err = newMemfd(storeIndex, text); err == nil {
			err = u.manager.notifier.NotifyFiles([]syscall.Conn{f}, FDStore, FDName(storeIndex))
			f.Close()
		}
	}
	if err != nil {
		u.log.Warn("storing the index with the service manager", "error", err)
	}
}

// readIndex finds out, after a crash, where the inherited sockets come from.
func (u *Upgrader) readIndex() {
	in, ok := u.inherited.takeOf(func(_ int, name string) bool { return name == storeIndex },
		func(e Entry) bool { return e.Kind == KindMemfd || e.Kind == KindFile })
	if !ok {
		return
	}
	f := in.file()
	defer f.Close()
	var index []indexEntry
	text, err := io.ReadAll(io.NewSectionReader(f, 0, maxIndex))
	if err == nil {
		err = json.Unmarshal(text, &index)
	}
	if err != nil {
		u.log.Warn("the index of stored descriptors can't be read", "error", err)
		return
	}
	u.origins = make([]origin, u.inherited.Len())
	for e := range u.inherited.All() {
		inode, ok := fdInode(e.FD)
		for _, known := range index {
			if ok && known.Inode == inode {
				u.origins[e.Index] = known.origin
			}
		}
	}
}
