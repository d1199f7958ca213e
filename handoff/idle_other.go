//go:build !unix

package handoff

// awaited has nothing to remember: no connection leaves this process.
type awaited struct{}

func (c *servedConn) await(p []byte) (int, error) { return c.inner.Read(p) }

// hasBytes has no use: no generation hands over to another on this system.
func hasBytes(socketConn) bool { return false }
