//go:build !unix

package handoff

// awaitByte has nothing to wait for: no connection comes from another generation
// on this system.
func awaitByte(socketConn) error { return ErrUnsupported }

// hasBytes has no use: no generation hands over to another on this system.
func hasBytes(socketConn) bool { return false }
