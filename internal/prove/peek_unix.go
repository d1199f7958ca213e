//go:build unix

package prove

// peekSupported: a connection that the server has closed while it was idle is
// noticed before a request is written to it, as any browser does.
const peekSupported = true
