// Package address compares the addresses that programs ask for with those that
// sockets are bound to.
package address
