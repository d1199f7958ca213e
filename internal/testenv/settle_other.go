//go:build !unix

package testenv

// Settle has nothing to do here.
func Settle() {}
