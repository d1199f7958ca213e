package handoff

import (
	"net"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

// outlet leads to the inbox of an older generation.
type outlet struct {
	generation int
	file       *os.File
}

var frames = sync.Pool{New: func() any { b := make([]byte, 0, 2<<10); return &b }}

// send forwards a datagram, or drops it if the receiver doesn't keep up. It returns
// false if there is no receiver any more.
func (o *outlet) send(datagram []byte, from net.Addr) bool {
	b := frames.Get().(*[]byte)
	defer frames.Put(b)
	var ok bool
	if *b, ok = appendFrame((*b)[:0], datagram, from); !ok {
		return true // nobody could tell whose it is
	}
	return delivered(link.SendDatagram(o.file, *b))
}

// alive tells whether there is a receiver, by sending what it drops.
func (o *outlet) alive() bool { return delivered(link.SendDatagram(o.file, []byte{0})) }

// delivered tells whether an error of sending says nothing of the receiver's end.
func delivered(err error) bool {
	errno, ok := err.(*os.SyscallError)
	if !ok {
		return err == nil
	}
	return slices.Contains([]error{syscall.EAGAIN, syscall.ENOBUFS, syscall.ENOMEM, syscall.EMSGSIZE}, errno.Err)
}

func closeOutlets(all []*outlet) {
	for _, o := range all {
		o.file.Close()
	}
}

// exportOutlets returns what a successor needs to forward datagrams; the files are
// the caller's.
func (u *Upgrader) exportOutlets() (files []*os.File, boxes []link.Inbox) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.routed = slices.DeleteFunc(u.routed, func(s *shared) bool { return s.router.isClosed() })
	left := 0
	for _, s := range u.routed {
		if s.slot < 0 {
			continue
		}
		all, err := s.router.outlets(u.generation)
		if err != nil {
			u.log.Warn("datagrams can't be forwarded to this generation", "name", s.Name, "error", err)
		}
		for _, o := range all {
			if len(files) == link.MaxInboxes {
				left++
				continue
			}
			d, err := dupFile(File{Name: s.Name, Conn: o.file})
			if err != nil {
				left++
				continue
			}
			files = append(files, d)
			boxes = append(boxes, link.Inbox{Generation: o.generation, File: s.slot})
		}
	}
	if left > 0 {
		u.log.Warn("datagrams can't be forwarded to the oldest generations", "ways", left)
	}
	return files, boxes
}

// meetOutlets takes what came with the predecessor's hello; the sockets that they
// belong to are taken later.
func (u *Upgrader) meetOutlets(hello link.Hello, files []*os.File) {
	if len(files) != len(hello.Inboxes) {
		closeAll(files)
		return
	}
	u.outlets = make(map[int][]*outlet)
	for i, box := range hello.Inboxes {
		u.outlets[box.File] = append(u.outlets[box.File], &outlet{generation: box.Generation, file: files[i]})
	}
}

// takeOutlets returns those of an inherited socket.
func (u *Upgrader) takeOutlets(index int) []*outlet {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := u.outlets[index]
	delete(u.outlets, index)
	return all
}

// closeOutlets closes those that no socket has taken.
func (u *Upgrader) closeOutlets() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, all := range u.outlets {
		closeOutlets(all)
	}
	clear(u.outlets)
}

// forgetOutlets is when an older generation has ended.
func (u *Upgrader) forgetOutlets(generation int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, s := range u.routed {
		s.router.forget(generation)
	}
}
