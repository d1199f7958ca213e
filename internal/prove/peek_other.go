//go:build !unix

package prove

// peekSupported: here a kept connection that the server has closed is noticed
// by losing a request.
const peekSupported = false
