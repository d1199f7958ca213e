//go:build unix && !linux

package activate

import "golang.org/x/sys/unix"

// alone can't give the thread a descriptor table of its own here. That a socket takes
// the place of the Go runtime's kqueue while another thread polls is possible for the
// few microseconds until execve(2).
func alone() { closeOnExecFrom(firstFD) }

func closeOnExecAll() { closeOnExecFrom(firstFD) }

func dupTo(from, to int) error { return unix.Dup2(from, to) }
