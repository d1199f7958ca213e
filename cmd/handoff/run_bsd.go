//go:build unix && !linux

package main

// hasTermios matters where there is a holder.
func hasTermios(int) bool { return false }
