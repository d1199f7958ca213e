//go:build unix

package handoff

import (
	"errors"
	"os/exec"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

const canUpgrade = true

// launch starts the process with its files, its end of the link, and our socket
// for its notifications.
func (s *successor) launch() error {
	if err := s.findGoBetween(); err != nil {
		return err
	}
	ours, theirs, err := link.Pair()
	if err != nil {
		closeAll(s.inboxes)
		return err
	}
	defer theirs.Close()
	s.link, s.mover = ours, newMover(ours, underWay, (*emigrant).giveBack)
	s.porter = newMover(ours, withState, (*emigrant).stay)
	s.cmd.Env = append(withoutVariable(s.cmd.Env, "NOTIFY_SOCKET"), "NOTIFY_SOCKET="+s.inbox.Address())
	// Aside, for the hello of a thousand sockets is more than a socket's buffer
	// holds; most are there before the process is.
	go s.greet(ours)
	err = errSilent
	if isKin(s.cmd) {
		err = s.begin(func(cmd *exec.Cmd) error { return startKin(cmd, s.files, theirs) })
		s.likeness = err == errSilent
	}
	if err == errSilent {
		err = s.begin(func(cmd *exec.Cmd) error { return startExporting(cmd, s.files, theirs) })
	}
	if err != nil {
		ours.Close()
	}
	return err
}

// begin starts the process, as a sibling if it is to be one and can. After an error
// from which another attempt can follow, cmd is as it was.
func (s *successor) begin(start func(*exec.Cmd) error) (err error) {
	fresh := *s.cmd
	if s.sibling {
		s.pidfd, err = startSibling(s.cmd, start)
	}
	if !s.sibling || errors.Is(err, syscall.EINVAL) && s.cmd.Process == nil {
		again := fresh
		s.cmd = &again
		err = start(s.cmd)
	}
	if err == errSilent {
		s.cmd = &fresh
	}
	return err
}

// greet sends the hello. Where the kernel lets no more descriptors travel, the old
// generation's datagrams have to stay away.
func (s *successor) greet(l *link.Conn) {
	defer closeAll(s.inboxes)
	files := make([]syscall.Conn, len(s.inboxes))
	for i, f := range s.inboxes {
		files[i] = f
	}
	if err := l.Send(time.Minute, link.KindHello, s.hello, files...); err != nil && len(files) > 0 {
		hello := s.hello
		hello.Inboxes = nil
		_ = l.Send(time.Minute, link.KindHello, hello, files[len(s.hello.Inboxes):]...)
	}
	if past := s.past(); past != nil {
		_ = l.Send(time.Minute, link.KindHistory, past)
	}
}

// wait waits until the process has ended, and returns how.
func (s *successor) wait() error {
	if s.pidfd != nil {
		defer s.pidfd.Close()
		defer s.cmd.Process.Release() // its own pidfd; nobody calls Wait
		return waitSibling(s.pidfd)
	}
	if err := s.cmd.Wait(); err != nil {
		return err
	}
	return ErrExited
}
