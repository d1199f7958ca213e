//go:build linux || darwin || freebsd

package control

// Supported tells whether there can be control sockets: where the kernel tells who
// is at the other end.
const Supported = true
