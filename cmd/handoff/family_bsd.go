//go:build unix && !linux && !small

package main

import "syscall"

// adoptOrphans has nothing to do: where orphans go to init, the process group
// that all generations are in is what finds them. Its number is the first
// generation's pid.
func adoptOrphans() error { return nil }

// signalAll signals the group. Its number stays its own until bury reaps the
// first generation.
func (f *family) signalAll(sig syscall.Signal) { syscall.Kill(-f.root.Pid, sig) }

// reap leaves all to bury: orphans are reaped by init.
func (f *family) reap(int) {}

// bury reaps the first generation once no other is left, and says whether it
// did.
func (f *family) bury() bool {
	select {
	case <-f.gone:
		f.root.Wait()
		return true
	default:
		return false
	}
}
