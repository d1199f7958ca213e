//go:build !unix

package stage

// Link returns the descriptor of the link to the predecessor; there is none on
// this system.
func Link() (fd int, ok bool) { return 0, false }
