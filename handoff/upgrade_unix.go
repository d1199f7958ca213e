//go:build unix

package handoff

import (
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

// launch starts the process with its files, its end of the link, and our socket
// for its notifications.
func (s *successor) launch() error {
	ours, theirs, err := link.Pair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	s.link = ours
	s.cmd.Env = append(withoutNotify(s.cmd.Env), "NOTIFY_SOCKET="+s.inbox.Address())
	// Aside, for the hello of a thousand sockets is more than a socket's buffer
	// holds; most are there before the process is.
	go func() { _ = ours.Send(time.Minute, link.KindHello, s.hello) }()
	if err := startExporting(s.cmd, s.files, theirs); err != nil {
		ours.Close()
		return err
	}
	return nil
}

func withoutNotify(env []string) []string {
	out := make([]string, 0, len(env)+1)
	for _, entry := range env {
		if len(entry) < 14 || entry[:14] != "NOTIFY_SOCKET=" {
			out = append(out, entry)
		}
	}
	return out
}
