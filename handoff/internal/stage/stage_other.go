//go:build !unix

package stage

// Link returns the descriptor of the link to the predecessor; there is none on
// this system.
func Link() (fd int, ok bool) { return 0, false }

// Setuid tells whether this process was started with another user's id than its
// caller's; there is no such thing on this system.
func Setuid() bool { return false }
