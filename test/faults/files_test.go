//go:build linux

package faults

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/test/internal/proctest"
	"golang.org/x/sys/unix"
)

// fileScenarios: the PID file can't be written when it is to name the successor,
// and what a process writes to has no room or no reader.
func fileScenarios() []*scenario {
	pidFile := func(what, cause string, c *scenario) *scenario {
		c.step, c.fault, c.who = "commit", what, "PID file"
		c.serves, c.cause, c.short = theOld, cause, true
		return c
	}
	// The PID file is in a file system of its own.
	small := func(s *service) { s.pids = filepath.Join(s.mount("state", 0, "size=16k,nr_inodes=8,mode=777"), "pid") }
	fill := func(s *service) string { return filepath.Join(s.dir, "state", "fill") }
	return []*scenario{
		pidFile("disk full", "no space left on device", &scenario{
			prepare: small,
			inject: func(s *service) {
				if err := os.WriteFile(fill(s), make([]byte, 1<<20), 0o644); !errors.Is(err, syscall.ENOSPC) {
					s.t.Fatalf("the disk is not full: %v", err)
				}
				s.hangUp()
			},
			undo: func(s *service) { os.Remove(fill(s)) },
		}),
		pidFile("no more inodes", "no space left on device", &scenario{
			prepare: small,
			inject: func(s *service) {
				for i := 0; ; i++ {
					f, err := os.Create(fill(s) + string(rune('a'+i)))
					if err != nil {
						break
					}
					f.Close()
				}
				s.hangUp()
			},
			undo: func(s *service) { os.Remove(fill(s) + "a"); os.Remove(fill(s) + "b") },
		}),
		pidFile("read-only file system", "read-only file system", &scenario{
			prepare: small,
			inject:  func(s *service) { s.remount(unix.MS_RDONLY); s.hangUp() },
			undo:    func(s *service) { s.remount(0) },
		}),
		pidFile("read-only directory", "permission denied", &scenario{
			prepare: small,
			started: asAnotherUser,
			inject:  func(s *service) { s.chmod(0o555); s.hangUp() },
			undo:    func(s *service) { s.chmod(0o777) },
		}),
		{
			step: "all", fault: "stdout and stderr are /dev/full", serves: theNew, short: true, flags: []string{"-log-stderr"},
			started: func(s *service, cmd *execCmd) {
				f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
				if err != nil {
					s.t.Fatal(err)
				}
				s.t.Cleanup(func() { f.Close() })
				cmd.Stdout, cmd.Stderr = f, f
			},
			inject: func(s *service) { s.hangUp() },
		},
		{
			step: "all", fault: "stdin, stdout and stderr are closed", serves: theNew, short: true,
			started: func(s *service, cmd *execCmd) {
				cmd.Args = append([]string{"sh", "-c", `exec "$0" "$@" <&- >&- 2>&-`, cmd.Path}, cmd.Args[1:]...)
				cmd.Path = proctest.RequireTool(s.t, "sh")
			},
			inject: func(s *service) { s.hangUp() },
		},
		{
			step: "all", fault: "stderr has no reader, log elsewhere", serves: theNew,
			started: func(s *service, cmd *execCmd) { cmd.Stderr = s.brokenPipe() },
			inject:  func(s *service) { s.hangUp() },
		},
		{
			step: "fork", fault: "stderr has no reader, log there", who: "old", serves: nobody, loses: theOld, flags: []string{"-log-stderr"},
			// Go's rule (os/signal): a write to a broken pipe on descriptor 1 or 2 is
			// death by SIGPIPE. The restart has a reader.
			started: func(s *service, cmd *execCmd) {
				if s.old == 0 {
					cmd.Stderr = s.laterBroken()
				}
			},
			inject: func(s *service) { s.reader.Close(); s.hangUp() },
		},
		{
			step: "fork", fault: "stderr is full, log there", who: "old", serves: theNew, flags: []string{"-log-stderr"},
			started: func(s *service, cmd *execCmd) { cmd.Stderr = s.fullPipe() },
			inject: func(s *service) {
				s.hangUp()
				seen := s.load.answered.Load()
				proctest.Until(s.t, "requests are answered all the same", func() error {
					if s.load.answered.Load() < seen+10 {
						return errors.New("there are too few")
					}
					return nil
				})
				go s.drainPipe()
			},
		},
	}
}

func (s *service) remount(flags uintptr) {
	s.t.Helper()
	if err := unix.Mount("", filepath.Join(s.dir, "state"), "", unix.MS_REMOUNT|flags, ""); err != nil {
		s.t.Fatal(err)
	}
}

func (s *service) chmod(mode os.FileMode) {
	s.t.Helper()
	if err := os.Chmod(filepath.Join(s.dir, "state"), mode); err != nil {
		s.t.Fatal(err)
	}
}

// laterBroken returns the end of a pipe to write to; the other is s.reader.
func (s *service) laterBroken() *os.File {
	s.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	s.reader, s.writer = r, w
	s.t.Cleanup(func() { r.Close(); w.Close() })
	return w
}

func (s *service) brokenPipe() *os.File {
	s.t.Helper()
	w := s.laterBroken()
	s.reader.Close()
	return w
}

// fullPipe returns a pipe in which there is room for the lines of the start alone.
func (s *service) fullPipe() *os.File {
	s.t.Helper()
	w := s.laterBroken()
	if err := w.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		s.t.Fatal(err)
	}
	chunk := make([]byte, 4096)
	for {
		if _, err := w.Write(chunk); err != nil {
			break
		}
	}
	if _, err := s.reader.Read(make([]byte, 4096)); err != nil {
		s.t.Fatal(err)
	}
	return w
}

func (s *service) drainPipe() {
	buf := make([]byte, 64<<10)
	for {
		if _, err := s.reader.Read(buf); err != nil {
			return
		}
	}
}
