//go:build !unix

package handoff

// awaitByte has nothing to wait for: no connection comes from another generation
// on this system.
func awaitByte(socketConn) error { return ErrUnsupported }
