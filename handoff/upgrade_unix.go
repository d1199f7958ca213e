//go:build unix

package handoff

import (
	"errors"
	"os/exec"
	"strings"
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
	s.cmd.Env = append(withoutNotify(s.cmd.Env), "NOTIFY_SOCKET="+s.inbox.Address())
	// Aside, for the hello of a thousand sockets is more than a socket's buffer
	// holds; most are there before the process is.
	go s.greet(ours)
	start := func(cmd *exec.Cmd) error { return startExporting(cmd, s.files, theirs) }
	if s.sibling {
		again := *s.cmd
		s.pidfd, err = startSibling(s.cmd, start)
		if errors.Is(err, syscall.EINVAL) && s.cmd.Process == nil {
			s.cmd = &again
			err = start(s.cmd)
		}
	} else {
		err = start(s.cmd)
	}
	if err != nil {
		ours.Close()
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
	if s.past != nil {
		_ = l.Send(time.Minute, link.KindHistory, s.past)
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

func withoutNotify(env []string) []string {
	out := make([]string, 0, len(env)+1)
	for _, entry := range env {
		if !strings.HasPrefix(entry, "NOTIFY_SOCKET=") {
			out = append(out, entry)
		}
	}
	return out
}
