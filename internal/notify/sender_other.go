//go:build !linux

package notify

// From reports whether the message counts as one of process pid. This system
// doesn't tell a datagram's sender; only this user and root can reach the
// socket, so every message counts.
func (m Message) From(pid int) bool { return true }

// IsDescendant reports whether pid is ancestor. Further relations are not
// looked up on this system.
func IsDescendant(pid, ancestor int) bool { return pid == ancestor && pid > 0 }
