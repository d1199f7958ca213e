package handoff

import "os"

// warmUp does what the first start of a process needs once, so that it doesn't add to
// the time of an upgrade: package os finds out whether pidfds work by starting a
// process of its own, which takes a millisecond; and the table of descriptors
// becomes large enough for a duplicate of each of so many sockets.
func warmUp(sockets int) {
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Release()
	}
	makeRoom(sockets)
}
